//! `docs/benchmarks.md`: one section for each benchmark, between markers, replaced whole.

use std::path::Path;

use anyhow::{Context, bail};

/// Replaces the section of that benchmark, or adds it at the end.
pub(crate) fn write(root: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = root.join("docs/benchmarks.md");
    let old = std::fs::read_to_string(&path).context("`docs/benchmarks.md` cannot be read")?;
    std::fs::write(&path, replaced(&old, name, text)?).context("`docs/benchmarks.md` cannot be written")
}

fn replaced(old: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->\n"));
    let section = format!("{begin}{}\n{end}", text.trim_end());
    match (old.split_once(&begin), old.split_once(&end)) {
        (Some((before, _)), Some((upto, after))) if before.len() < upto.len() => {
            Ok(format!("{before}{section}{after}"))
        }
        (None, None) => Ok(format!("{}\n\n## {name}\n\n{section}", old.trim_end())),
        _ => bail!("`docs/benchmarks.md` has lost a marker of `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_section_is_added_once_and_then_replaced_where_it_stands() {
        let one = replaced("# Title\n", "a", "first\n").expect("no markers yet");
        assert_eq!(one, "# Title\n\n## a\n\n<!-- begin: a -->\nfirst\n<!-- end: a -->\n");
        let two = replaced(&one, "b", "other").expect("no markers of b yet");
        let told = two.replace("## a\n", "## a\n\nWords of a person.\n");
        let three = replaced(&told, "a", "second").expect("both markers");
        assert_eq!(three, told.replace("first", "second"));
        assert!(replaced(&three.replace("<!-- end: a -->\n", ""), "a", "third").is_err());
    }
}
