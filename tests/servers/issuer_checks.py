"""Access tokens of a real issuer (npm `oidc-provider` on loopback TLS), and of two libraries that make tokens (npm `jose`,
PyJWT): accepted where they are good, also while keys change, and refused where they are not."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import ssl
import subprocess
import threading
import time
import urllib.parse

from certificates import Authority
from gateway import Gateway
from processes import Process, free_port, program, run, until
from report import Missing, Suite, equal
from wire import Host

SCRIPTS = pathlib.Path(__file__).parent / "issuer"
AUDIENCE = "https://api.test"
ALGORITHMS = ["ES256", "EdDSA", "PS256", "RS256"]


class Client:
    """npm `jose`, in a process of its own that takes orders."""

    def __init__(self, node, env):
        self.child = subprocess.Popen(
            [node, SCRIPTS / "client.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )

    def __call__(self, what, **order):
        self.child.stdin.write(json.dumps({"do": what, **order}) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        if "ok" not in answer:
            raise RuntimeError(f"{what}: {answer}")
        return answer["ok"]

    def end(self):
        self.child.stdin.close()
        self.child.terminate()
        self.child.wait(8)


class Issuer:
    """`oidc-provider`, which can be stopped and started with other keys."""

    def __init__(self, setting, node, env):
        self.folder = setting.folder("issuer")
        self.node, self.env, self.port, self.process = node, env, free_port(), None
        self.authority = Authority(self.folder)
        # A certificate for a client: whose it is does not matter, only that it is held.
        self.context = ssl.create_default_context(cafile=self.authority.ca)
        self.holder = ssl.create_default_context(cafile=self.authority.ca)
        self.holder.load_cert_chain(self.authority.chain, self.authority.key)
        self.url = f"https://127.0.0.1:{self.port}"

    def start(self, keys):
        (self.folder / "issuer-keys.json").write_text(json.dumps({"keys": keys}))
        command = [self.node, SCRIPTS / "issuer.mjs", self.folder, self.port, AUDIENCE]
        self.process = Process(command, self.folder / f"issuer-{time.monotonic_ns()}.log", self.env)
        self.process.ready("the issuer", lambda: "issuer listens" in self.process.said(), 30)

    def end(self):
        if self.process:
            self.process.end()

    def token(self, client, resource=AUDIENCE, proof=None, context=None):
        """A token by client credentials."""
        pair = f"{client}:{client}-secret-of-the-tests".encode()
        form = {"grant_type": "client_credentials", "scope": "infer list", "resource": resource}
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            **({"DPoP": proof} if proof else {}),
        }
        host = Host(self.port, context or self.context)
        reply = host.call("POST", "/token", urllib.parse.urlencode(form).encode(), headers)
        equal(reply.status, 200, f"the issuer's answer ({reply})")
        return reply.json()["access_token"]


class Scene:
    """An issuer, a client of `jose`, tokens of PyJWT, a gateway."""

    def __init__(self, issuer, client, keys, py, gateway):
        self.issuer, self.client, self.keys, self.py, self.gateway = issuer, client, keys, py, gateway
        self.gate = Host(gateway.ports["plain"])

    def ask(self, token, scheme="Bearer", **headers):
        return self.gate.call("GET", "/limits", headers={"Authorization": f"{scheme} {token}", **headers})

    def accepted(self, token, principal, scheme="Bearer", **headers):
        reply = self.ask(token, scheme, **headers)
        equal(reply.status, 200, f"status ({reply})")
        equal(self.gateway.record(reply.id)["principal"], principal, "who it was")

    def refused(self, why, token, scheme="Bearer", **headers):
        reply = self.ask(token, scheme, **headers)
        equal(reply.status, 401, f"status ({reply})")
        equal(self.gateway.record(reply.id)["evidence"], f"the token is refused: {why}", "the reason on record")

    def proof(self, token=None, url=f"{AUDIENCE}/limits", method="GET"):
        return self.client("proof", key=self.keys["prover"], url=url, method=method, token=token)

    def bound(self):
        """A token that is bound to a key."""
        return self.issuer.token("prover", proof=self.proof(url=f"https://localhost:{self.issuer.port}/token", method="POST"))


def jose_claims():
    now = int(time.time())
    return {"iss": "https://jose.test", "aud": AUDIENCE, "sub": "js", "iat": now, "exp": now + 600, "scope": "infer list"}


@contextlib.contextmanager
def scene(setting):
    if not setting.node:
        raise Missing("apt-get install nodejs npm, and cargo xtask peers again where npm can reach a registry")
    env = {**os.environ, "TOLLGATE_NODE": str(setting.node), "NODE_NO_WARNINGS": "1"}
    node = program("node", "nodejs")
    py = json.loads(run([setting.python("issuer"), SCRIPTS / "tokens.py", "https://pyjwt.test", AUDIENCE]))
    with contextlib.ExitStack() as stack:
        client = Client(node, env)
        stack.callback(client.end)
        keys = {name: {**client("key", alg="ES256"), "kid": name} for name in ("first", "second", "prover")}
        keys |= {name: {**client("key", alg=name), "kid": name} for name in ALGORITHMS}
        issuer = Issuer(setting, node, env)
        stack.callback(issuer.end)
        issuer.start([keys["first"]])
        public = [{k: v for k, v in keys[name].items() if k not in {"d", "p", "q", "dp", "dq", "qi"}} for name in ALGORITHMS]
        files = {
            "jose.jwks": json.dumps({"keys": public}),
            "pyjwt.jwks": json.dumps(py["jwks"]),
            "issuer-ca.pem": issuer.authority.ca.read_text(),
            "gate.key": "gate-secret-of-the-tests",
        }
        gateway = Gateway(setting, "before_issuer", files, ISSUER=issuer.url)
        (gateway.folder / "gate.key").chmod(0o600)
        stack.enter_context(gateway)
        yield Scene(issuer, client, keys, py["tokens"], gateway)


SUITE = Suite("issuer", scene)


@SUITE.check("a token of client credentials, by discovery and ES256")
def credentials(s):
    token = s.issuer.token("plain")
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    equal((header["alg"], header["typ"]), ("ES256", "at+jwt"), "header")
    for _ in range(2):
        s.accepted(token, "oidc:plain")
    s.refused("its signature is wrong", token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB"))


@SUITE.check("a token that says nothing itself, by introspection")
def opaque(s):
    token = s.issuer.token("plain", resource=f"{AUDIENCE}/opaque")
    equal(token.count("."), 0, "dots of an opaque token")
    for _ in range(2):
        s.accepted(token, "oidc:plain")
    s.refused("its issuer says that it is not active", token[:-2] + ("AA" if token[-2:] != "AA" else "BB"))


@SUITE.check("a token that is bound to a key, with proofs of it")
def possession(s):
    token = s.bound()
    proof = s.proof(token)
    s.accepted(token, "oidc:prover", "DPoP", DPoP=proof)
    s.refused("its proof was used before", token, "DPoP", DPoP=proof)
    s.refused("it is bound to a key, and no proof of that came with it", token)
    s.refused("its proof is for another request or another token", token, "DPoP", DPoP=s.proof(token, method="POST"))
    s.refused("its proof is for another request or another token", token, "DPoP", DPoP=s.proof(token, url=f"{AUDIENCE}/other"))
    s.refused("its proof is for another request or another token", token, "DPoP", DPoP=s.proof(s.bound()))
    s.accepted(token, "oidc:prover", "DPoP", DPoP=s.proof(token))


@SUITE.check("a token that is bound to a certificate is refused without it")
def certificate(s):
    token = s.issuer.token("holder", context=s.issuer.holder)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    leaf = ssl.PEM_cert_to_DER_cert(s.issuer.authority.chain.read_text())
    digest = base64.urlsafe_b64encode(hashlib.sha256(leaf).digest()).rstrip(b"=").decode()
    equal(claims["cnf"], {"x5t#S256": digest}, "confirmation")
    s.refused("it is bound to another certificate", token)


def of_jose(name):
    def act(s):
        header = {"kid": name, "typ": "at+jwt"}
        token = s.client("token", key=s.keys[name], header=header, claims=jose_claims())
        s.accepted(token, "jose:js")
        late = {**jose_claims(), "exp": int(time.time()) - 60}
        s.refused("it has expired", s.client("token", key=s.keys[name], header=header, claims=late))

    return act


for _name in ALGORITHMS:
    SUITE.add(f"a token that jose signs with {_name}", of_jose(_name))
    SUITE.add(f"a token that PyJWT signs with {_name}", lambda s, name=_name: s.accepted(s.py[name], "pyjwt:py"))


@SUITE.check("keys change under load, and no request fails")
def rotation(s):
    token, stop, failed, count = s.issuer.token("plain"), threading.Event(), [], [0]

    def load():
        while not stop.is_set():
            reply = s.ask(token)
            count[0] += 1
            if reply.status != 200:
                failed.append(str(reply))

    worker = threading.Thread(target=load)
    worker.start()
    try:
        s.issuer.end()
        s.issuer.start([s.keys["second"], s.keys["first"]])
        fresh = s.issuer.token("plain")
        equal(json.loads(base64.urlsafe_b64decode(fresh.split(".")[0] + "=="))["kid"], "second", "the new key's name")
        s.accepted(fresh, "oidc:plain")
    finally:
        stop.set()
        worker.join()
    equal(failed, [], f"failures among {count[0]} requests")
    if count[0] < 20:
        raise AssertionError(f"only {count[0]} requests")


@SUITE.check("an issuer that is down: its keys serve for the stated time, then nobody is let in")
def down(s):
    token = s.issuer.token("plain")
    s.accepted(token, "oidc:plain")
    s.issuer.end()
    ended = time.monotonic()
    s.accepted(token, "oidc:plain")
    until("the keys are too old", lambda: s.ask(token).status == 503, 20)
    took = time.monotonic() - ended
    # They were fetched at most four seconds before, and serve for eight.
    if not 3.5 < took < 10:
        raise AssertionError(f"closed after {took:.1f} s")
    equal(s.ask(s.py["ES256"]).status, 200, "status of a token of another issuer")
    s.issuer.start([s.keys["second"]])
    until("the keys are back", lambda: s.ask(token).status == 200, 40)
