//! What is sent, and what was promised of it.

/// One kind of request.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// As the client knows it.
    pub(super) name: &'static str,
    /// For the table.
    pub(super) title: &'static str,
    /// Microseconds that the rules may cost, at the median.
    pub(super) bar: Option<f64>,
    /// Microseconds that they may never cost.
    pub(super) most: Option<f64>,
    /// How many times less than libmodsecurity, at least.
    pub(super) ratio: Option<f64>,
}

impl Row {
    pub(super) fn all() -> Vec<Self> {
        let row = |name, title, bar| Self { name, title, bar: Some(bar), most: None, ratio: None };
        vec![
            row("get", "bare GET", 40.0),
            Self { ratio: Some(15.0), ..row("chat", "chat, 956 B", 200.0) },
            Self { bar: None, ..row("prose-100", "fresh prose, 100 characters", 0.0) },
            row("prose-2000", "fresh prose, 2,000", 400.0),
            row("prose-10000", "fresh prose, 10,000", 1_500.0),
            row("prose-100000", "fresh prose, 100,000", 12_000.0),
            row("tensor-10", "tensor, 10 floats", 50.0),
            row("tensor-100", "tensor, 100", 80.0),
            Self { most: Some(300.0), ratio: Some(300.0), ..row("tensor-768", "tensor, 768", 150.0) },
            row("tensor-1000", "tensor, 1,000", 200.0),
            row("tensor-10000", "tensor, 10,000", 2_000.0),
        ]
    }

    /// Part of a quick look.
    pub(super) fn is_telling(&self) -> bool {
        ["get", "chat", "prose-10000", "tensor-768"].contains(&self.name)
    }
}
