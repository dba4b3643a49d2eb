//! Proving to Vault who we are, and keeping that proof: AppRole, the token of a pod, or a token that somebody else gets.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate_core::secret::Secret;

use super::answer::{Auth, LoggedIn, LookedUp, Plain, Wrapping, read};
use super::config::{Local, Login};
use super::term::Term;
use super::wire::{Question, ask};
use super::{Line, Trouble};
use crate::secrets::{file, systemd, value};

/// A token of Vault.
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) term: Term,
    /// Whether we logged in for it; one that somebody else gets is neither renewed nor revoked by us.
    pub(super) own: bool,
}

/// What became of wrapping tokens.
#[derive(Default)]
pub(super) struct Wrapped {
    /// The last one, and the secret id that was in it.
    opened: Option<(Secret, Secret)>,
    /// One that must not be used again.
    spent: Option<Secret>,
}

impl Line {
    /// Logs in.
    pub(super) async fn log_in(&self) -> Result<Token, Trouble> {
        match &self.plan.login {
            Login::AppRole { mount, role_id, secret_id, wrapped } => {
                let given = secret_id.read()?;
                let secret_id = if *wrapped { self.unwrap(mount, given).await? } else { given };
                let body = json!({ "role_id": role_id, "secret_id": text(&secret_id)? });
                self.logged_in(&format!("auth/{mount}/login"), body).await
            }
            Login::Kubernetes { mount, role, token_file, audience } => {
                let jwt = pod_token(token_file, audience.as_deref())?;
                let body = json!({ "role": role, "jwt": text(&jwt)? });
                self.logged_in(&format!("auth/{mount}/login"), body).await
            }
            Login::Token(local) => {
                let value = local.read()?;
                let answer = ask(&self.plan, Question::get("auth/token/lookup-self").with(&value)).await?;
                let own = read::<LookedUp>(&answer)?.data;
                // Whoever gets it renews it: it is read again before it ends.
                let term = Term::new(self.clock.now(), own.ttl, false);
                Ok(Token { value, term, own: false })
            }
        }
    }

    async fn logged_in(&self, path: &str, body: Value) -> Result<Token, Trouble> {
        let answer = ask(&self.plan, Question::post(path, &body)).await?;
        let Auth { client_token, lease_duration, renewable } = read::<LoggedIn>(&answer)?.auth;
        let value = client_token.0.ok_or_else(|| Trouble::Away("answers a login without a token".to_owned()))?;
        Ok(Token { value, term: Term::new(self.clock.now(), lease_duration, renewable), own: true })
    }

    /// Renews a token.
    pub(super) async fn renew_token(&self, token: Token) -> Result<Token, (Token, Trouble)> {
        let question = Question::post("auth/token/renew-self", &json!({})).with(&token.value);
        let renewed = ask(&self.plan, question).await.and_then(|answer| read::<LoggedIn>(&answer));
        match renewed {
            Ok(LoggedIn { auth }) => {
                let term = token.term.renewed(self.clock.now(), auth.lease_duration, auth.renewable);
                Ok(Token { term, ..token })
            }
            Err(trouble) => Err((token, trouble)),
        }
    }

    /// Takes the secret id out of what wraps it, once. If somebody did that before us, it is theirs now, and that is said
    /// until another wrapping token is there.
    async fn unwrap(&self, mount: &str, given: Secret) -> Result<Secret, Trouble> {
        {
            let wrapped = self.wrapped.lock();
            if let Some((known, secret_id)) = &wrapped.opened
                && *known == given
            {
                return Ok(secret_id.clone());
            }
            if wrapped.spent.as_ref() == Some(&given) {
                return Err(Trouble::Spent);
            }
        }
        let unwrapped = self.unwrapped(mount, &given).await;
        let mut wrapped = self.wrapped.lock();
        match unwrapped {
            Ok(secret_id) => {
                wrapped.opened = Some((given, secret_id.clone()));
                Ok(secret_id)
            }
            Err(Trouble::Refused(_) | Trouble::Forbidden | Trouble::Missing | Trouble::Spent) => {
                wrapped.spent = Some(given);
                Err(Trouble::Spent)
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn unwrapped(&self, mount: &str, given: &Secret) -> Result<Secret, Trouble> {
        let look = json!({ "token": text(given)? });
        let answer = ask(&self.plan, Question::post("sys/wrapping/lookup", &look)).await?;
        // Whoever took the secret id could wrap something else in its place.
        let from = read::<Wrapping>(&answer)?.data.creation_path;
        let ours = from.starts_with(&format!("auth/{mount}/role/")) && from.ends_with("/secret-id");
        if !ours {
            return Err(Trouble::Spent);
        }
        let answer = ask(&self.plan, Question::post("sys/wrapping/unwrap", &json!({})).with(given)).await?;
        let mut fields = read::<Plain>(&answer)?.data.unwrap_or_default();
        fields.remove("secret_id").and_then(|field| field.0).ok_or(Trouble::Spent)
    }

    /// What proves who we are, to be masked.
    pub(super) fn proofs(&self) -> Vec<Secret> {
        let wrapped = self.wrapped.lock();
        let opened = wrapped.opened.iter().flat_map(|(token, secret_id)| [token.clone(), secret_id.clone()]);
        opened.chain(wrapped.spent.clone()).collect()
    }
}

impl Local {
    fn read(&self) -> Result<Secret, Trouble> {
        let unread = |source: &dyn std::fmt::Display, why| Trouble::Local(format!("`{source}` {why}"));
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::File(source, path) => {
                let systemd = matches!(source, crate::config::SecretSource::Systemd { .. });
                let bytes = if systemd { systemd::read(path) } else { file::read(path) };
                Ok(bytes.and_then(value).map_err(|why| unread(source, why))?.0)
            }
        }
    }
}

/// The token of the pod. Others of the pod may read its file: that is how it is mounted.
fn pod_token(path: &Path, audience: Option<&str>) -> Result<Secret, Trouble> {
    let told = |why: &str| Trouble::Local(format!("`{}` {why}", path.display()));
    let (token, _) = file::read_but_for(path, 0).and_then(value).map_err(|why| told(&why))?;
    if let Some(audience) = audience {
        let meant = is_meant_for(&token, audience);
        meant.filter(|meant| *meant).ok_or_else(|| told(&format!("is no token for `{audience}`")))?;
    }
    Ok(token)
}

fn is_meant_for(token: &Secret, audience: &str) -> Option<bool> {
    let payload = text(token).ok()?.split('.').nth(1)?;
    let payload = Secret::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    let claims: Value = serde_json::from_slice(payload.expose()).ok()?;
    match claims.get("aud")? {
        Value::String(one) => Some(one == audience),
        Value::Array(several) => Some(several.iter().any(|one| one == audience)),
        _ => None,
    }
}

fn text(secret: &Secret) -> Result<&str, Trouble> {
    str::from_utf8(secret.expose()).map_err(|_| Trouble::Local("what proves who we are is no text".to_owned()))
}
