//! Path patterns: literal segments, `{name}` for one segment, `{*name}` for the rest.

/// A compiled path pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    /// One segment, captured if it is called `model`.
    Any { model: bool },
    /// Exactly this.
    Literal(Box<str>),
    /// Everything that is left, also nothing.
    Rest,
}

/// What a pattern captured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Matched<'a> {
    /// The segment that stood at `{model}`.
    pub model: Option<&'a str>,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else { return Err(format!("`{text}` does not begin with `/`")) };
        if text.contains(['?', '#', '%', ' ']) {
            return Err(format!("`{text}` holds a character that no route may: query, fragment, `%` or space"));
        }
        let mut segments = Vec::new();
        let mut pieces = path.split('/').peekable();
        while let Some(piece) = pieces.next() {
            let segment = Segment::new(piece)?;
            if segment == Segment::Rest && pieces.peek().is_some() {
                return Err(format!("`{piece}` can only be the last segment"));
            }
            if segment == (Segment::Any { model: true }) && segments.contains(&segment) {
                return Err(format!("`{piece}` stands twice: a path names one model"));
            }
            segments.push(segment);
        }
        Ok(Self { segments })
    }

    /// Matches a whole path. An empty segment matches nothing but itself.
    #[must_use]
    pub fn matches<'a>(&self, path: &'a str) -> Option<Matched<'a>> {
        let mut model = None;
        let mut pieces = path.strip_prefix('/')?.split('/');
        for segment in &self.segments {
            match segment {
                Segment::Rest => return Some(Matched { model }),
                Segment::Literal(text) => {
                    if pieces.next()? != &**text {
                        return None;
                    }
                }
                Segment::Any { model: is_model } => {
                    let piece = pieces.next().filter(|piece| !piece.is_empty())?;
                    if *is_model {
                        model = Some(piece);
                    }
                }
            }
        }
        pieces.next().is_none().then_some(Matched { model })
    }

    /// Whether it captures a model.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.segments.contains(&Segment::Any { model: true })
    }
}

impl Segment {
    fn new(piece: &str) -> Result<Self, String> {
        let Some(inner) = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}')) else {
            if piece.contains(['{', '}']) {
                return Err(format!("`{piece}` mixes text and a placeholder"));
            }
            if piece == "." || piece == ".." {
                return Err(format!("`{piece}` is a dot segment"));
            }
            return Ok(Self::Literal(piece.into()));
        };
        let (name, rest) = inner.strip_prefix('*').map_or((inner, false), |name| (name, true));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(format!("`{piece}` is not a placeholder such as `{{model}}` or `{{*rest}}`"));
        }
        Ok(if rest { Self::Rest } else { Self::Any { model: name == "model" } })
    }
}
