//! Compiles one link: variables, operator, transformations.

use crate::ir::Library;
use crate::ir::actions::Sorted;
use crate::ir::bits::Bits;
use crate::ir::names::Names;
use crate::ir::pattern;
use crate::ir::rule::{Act, Except, Link, Look, Select};
use crate::ir::shelf::{Shelf, is_state, shelves};
use crate::ir::text::{Segment, Text, has_macro};
use crate::ir::trie::Trie;
use crate::operators::{Env, Files, Operator};
use crate::parse::ast::{Rule, Selector, Spanned, Target, Variable};
use crate::problem::{Place, Problem, Severity};
use crate::source::Source;

/// Everything that compiling a rule reads and adds to.
pub(crate) struct Workshop<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) library: &'a mut Library,
    pub(crate) names: Names,
    pub(crate) trie: Trie,
    /// Variables that some rule reads.
    pub(crate) used: Bits,
    /// Those that some rule reads after phase 2.
    pub(crate) used_late: Bits,
    /// The rule that is compiled runs after phase 2.
    pub(crate) late: bool,
    pub(crate) problems: Vec<Problem>,
    /// Actions that open a persistent collection: the first one, and how many there are.
    pub(crate) opened: Option<(&'static str, Place, usize)>,
}

impl Workshop<'_> {
    /// A link of a rule.
    pub(crate) fn link(&mut self, rule: &Rule, sorted: &Sorted, acts: Box<[Act]>) -> Link {
        let operator = &rule.operator.value;
        let (compiled, parameter) = self.operator(rule);
        let node = self.trie.intern(&sorted.steps);
        let stations = if sorted.multi {
            (0..=sorted.steps.len()).map(|to| self.trie.intern(sorted.steps.get(..to).unwrap_or_default())).collect()
        } else {
            Box::default()
        };
        let looks = rule.targets.iter().filter(|target| !target.value.excluded).flat_map(|it| self.look(it)).collect();
        let excepts =
            rule.targets.iter().filter(|target| target.value.excluded).filter_map(|it| self.except(it)).collect();
        Link {
            looks,
            unconditional: rule.targets.is_empty(),
            excepts,
            negated: operator.negated,
            shortest: if operator.negated { 0 } else { compiled.lengths().0 },
            operator: compiled,
            parameter,
            node,
            stations,
            capture: sorted.capture,
            acts,
        }
    }

    fn operator(&mut self, rule: &Rule) -> (Operator, Text) {
        let operator = &rule.operator.value;
        let dynamic = takes_macros(&operator.name) && has_macro(&operator.argument);
        let parameter = if dynamic {
            self.text(&operator.argument, &operator.argument_place)
        } else {
            Text::literal(operator.argument.as_bytes())
        };
        let base = rule.place.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut files = Beside { source: self.source, base };
        let mut env = Env { files: &mut files, patterns: &mut self.library.patterns };
        match Operator::compile(&operator.name, &operator.argument, dynamic, &mut env) {
            Ok(compiled) => (compiled, parameter),
            Err(unusable) => {
                let problem = self.error(&rule.place_in_argument(unusable.at), unusable.message);
                problem.hint = unusable.hint;
                (Operator::UnconditionalMatch, parameter)
            }
        }
    }

    fn look(&mut self, target: &Spanned<Target>) -> Vec<Look> {
        let variable = target.value.variable;
        self.uses(variable);
        let Some(select) = self.select(target) else { return Vec::new() };
        vec![Look {
            variable,
            shelves: places(variable, &select),
            state: is_state(variable),
            select: if variable == Variable::Xml { Select::All } else { select },
            count: target.value.count,
            slots: Box::default(),
        }]
    }

    /// A variable that is not looked at.
    pub(crate) fn except(&mut self, target: &Spanned<Target>) -> Option<Except> {
        let variable = target.value.variable;
        let select = self.select(target)?;
        let shelves = if variable == Variable::Xml && matches!(select, Select::All) {
            const { &[Shelf::of(Variable::Xml), Shelf::XML_ATTRIBUTES] }
        } else {
            places(variable, &select)
        };
        let select = match (variable, select) {
            (Variable::Xml, _) => Select::All,
            (_, Select::Slot(slot)) => Select::Name(self.names.spelling(slot).to_ascii_lowercase().into_boxed_slice()),
            (_, select) => select,
        };
        Some(Except { shelves, select })
    }

    fn select(&mut self, target: &Spanned<Target>) -> Option<Select> {
        Some(match &target.value.selector {
            None => Select::All,
            Some(Selector::Name(name)) if has_macro(name) => Select::Computed(self.text(name, &target.place)),
            Some(Selector::Name(name)) if target.value.variable == Variable::Tx => {
                Select::Slot(self.names.intern(name.as_bytes()))
            }
            Some(Selector::Name(name)) => Select::Name(name.to_ascii_lowercase().into_bytes().into_boxed_slice()),
            Some(Selector::Pattern(text)) => match pattern::insensitive(text) {
                Ok(regex) => Select::Pattern(regex),
                Err(message) => {
                    self.error(&target.place, message);
                    return None;
                }
            },
        })
    }

    /// Text with macros; an unknown one is reported.
    pub(crate) fn text(&mut self, text: &str, place: &Place) -> Text {
        match Text::compile(text, &mut self.names) {
            Ok(text) => {
                for segment in text.segments() {
                    if let Segment::Variable(variable, _) = segment {
                        self.uses(*variable);
                    }
                }
                text
            }
            Err(name) => {
                self.error(place, format!("no variable is called `{name}`"))
                    .hint("a macro is `%{variable}` or `%{variable.name}`");
                Text::default()
            }
        }
    }

    fn uses(&mut self, variable: Variable) {
        self.used.insert(variable as usize);
        if self.late {
            self.used_late.insert(variable as usize);
        }
    }

    /// Notes that an action opens a persistent collection.
    pub(crate) fn opens(&mut self, action: &'static str, place: &Place) {
        self.opened.get_or_insert_with(|| (action, place.clone(), 0)).2 += 1;
    }

    /// Says, once, that what was opened outlives no request.
    pub(crate) fn warn_of_no_store(&mut self) {
        let Some((action, place, count)) = self.opened.take() else { return };
        let more = match count - 1 {
            0 => String::new(),
            1 => ", here and in 1 more place".to_owned(),
            more => format!(", here and in {more} more places"),
        };
        self.note(
            &place,
            format!("`{action}` opens a collection that every request finds empty{more}: there is no store for it"),
            Severity::Warning,
        )
        .hint("count requests where limits are kept: rules can only count within one request");
    }

    /// Notes an error.
    pub(crate) fn error(&mut self, place: &Place, message: String) -> &mut Problem {
        self.note(place, message, Severity::Error)
    }

    /// Notes a warning.
    pub(crate) fn warn(&mut self, place: &Place, message: &str) {
        self.note(place, message.to_owned(), Severity::Warning);
    }

    fn note(&mut self, place: &Place, message: String, severity: Severity) -> &mut Problem {
        self.problems.push(Problem { place: place.clone(), severity, message, hint: None });
        self.problems.last_mut().expect("one was pushed")
    }
}

impl Problem {
    /// Says what to do about it.
    pub(crate) fn hint(&mut self, hint: &str) {
        self.hint = Some(hint.to_owned());
    }
}

/// The shelves of a variable; for XML the path decides.
fn places(variable: Variable, select: &Select) -> &'static [Shelf] {
    match (variable, select) {
        (Variable::Xml, Select::Name(path)) if path.starts_with(b"//@") => const { &[Shelf::XML_ATTRIBUTES] },
        _ => shelves(variable),
    }
}

/// Operators whose argument is text or a number; the others must know theirs at load, and a `%{` in it is itself.
fn takes_macros(name: &str) -> bool {
    ["beginswith", "contains", "containsword", "endswith", "eq", "ge", "gt", "le", "lt", "streq", "strmatch", "within"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name))
}

/// Data files beside a rule file.
struct Beside<'a> {
    source: &'a dyn Source,
    base: &'a str,
}

impl Files for Beside<'_> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if self.base.is_empty() || path.starts_with('/') {
            return self.source.read(path);
        }
        self.source.read(&format!("{}/{path}", self.base))
    }
}
