//! Where the values of a variable are kept: one shelf per variable, but for those that are unions of others.

use crate::parse::ast::Variable;

/// One list of values of a transaction.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Shelf(usize);

impl Shelf {
    /// Attribute values of an XML body; its text is on the shelf of [`Variable::Xml`].
    pub(crate) const XML_ATTRIBUTES: Self = Self(Variable::ALL.len());
    /// How many there are.
    pub(crate) const COUNT: usize = Variable::ALL.len() + 1;

    /// The shelf that a variable's own values are put on.
    pub(crate) const fn of(variable: Variable) -> Self {
        Self(variable as usize)
    }

    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// The shelves whose values a variable is made of.
pub(crate) fn shelves(variable: Variable) -> &'static [Shelf] {
    const fn one(variable: Variable) -> Shelf {
        Shelf::of(variable)
    }
    static EACH: [Shelf; Variable::ALL.len()] = {
        let mut each = [Shelf(0); Variable::ALL.len()];
        let mut at = 0;
        while at < each.len() {
            each[at] = Shelf(at);
            at += 1;
        }
        each
    };
    match variable {
        Variable::Args => const { &[one(Variable::ArgsGet), one(Variable::ArgsPost)] },
        Variable::ArgsNames => const { &[one(Variable::ArgsGetNames), one(Variable::ArgsPostNames)] },
        Variable::MultipartFilename => const { &[one(Variable::Files)] },
        Variable::MultipartName => const { &[one(Variable::FilesNames)] },
        Variable::MultipartMissingSemicolon => const { &[one(Variable::MultipartSemicolonMissing)] },
        Variable::ReqbodyProcessorError => const { &[one(Variable::ReqbodyError)] },
        Variable::ReqbodyProcessorErrorMsg => const { &[one(Variable::ReqbodyErrorMsg)] },
        other => EACH.get(other as usize).map_or(&[], std::slice::from_ref),
    }
}

/// Whether the variable changes while rules run: it is read from the transaction's state, never from a shelf.
pub(crate) const fn is_state(variable: Variable) -> bool {
    matches!(
        variable,
        Variable::Duration
            | Variable::Env
            | Variable::Global
            | Variable::HighestSeverity
            | Variable::Ip
            | Variable::MatchedVar
            | Variable::MatchedVarName
            | Variable::MatchedVars
            | Variable::MatchedVarsNames
            | Variable::ReqbodyProcessor
            | Variable::Resource
            | Variable::Rule
            | Variable::Session
            | Variable::SessionId
            | Variable::Tx
            | Variable::User
            | Variable::UserId
    )
}

/// Whether values of the variable may lie in the request's body, and be gone when it is let go.
pub(crate) fn is_of_body(variable: Variable) -> bool {
    const SHELVES: [Shelf; 4] = [
        Shelf::of(Variable::ArgsPost),
        Shelf::of(Variable::ArgsPostNames),
        Shelf::of(Variable::FilesTmpContent),
        Shelf::of(Variable::RequestBody),
    ];
    shelves(variable).iter().any(|shelf| SHELVES.contains(shelf))
}
