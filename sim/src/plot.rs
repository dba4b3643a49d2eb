//! Bars as an SVG, without a library: one group for each scene, one bar for each policy.

use std::fmt::Write as _;

/// One group of bars.
#[derive(Clone, Debug)]
pub struct Group {
    /// What stands below it.
    pub name: String,
    /// Heights from 0 to 1, each with its name.
    pub bars: Vec<(String, f64)>,
}

/// One picture of groups.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// From left to right.
    pub groups: Vec<Group>,
}

/// Told apart by anybody, also in print (Okabe and Ito, 2008).
const COLOURS: [&str; 5] = ["#999999", "#56b4e9", "#e69f00", "#009e73", "#0072b2"];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const TOP: f64 = 40.0;
const BAR: f64 = 26.0;

/// Draws panels below each other.
#[must_use]
pub fn svg(panels: &[Panel]) -> String {
    let height = panels.len() as f64 * (HEIGHT + TOP + 30.0) + 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut out, panel, place as f64 * (HEIGHT + TOP + 30.0));
    }
    legend(&mut out, panels, height - 14.0);
    out.push_str("</svg>\n");
    out
}

/// Writing to a string cannot fail.
fn draw(out: &mut String, panel: &Panel, y: f64) {
    let (left, base) = (48.0, y + TOP + HEIGHT);
    let _ = writeln!(out, "<text x=\"{left}\" y=\"{}\" font-size=\"14\">{}</text>", y + 24.0, escaped(&panel.title));
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let line = base - part * HEIGHT;
        let _ = writeln!(
            out,
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>",
            WIDTH - 10.0,
            left - 6.0,
            line + 4.0,
            part * 100.0
        );
    }
    let room = (WIDTH - left - 10.0) / panel.groups.len().max(1) as f64;
    for (place, group) in panel.groups.iter().enumerate() {
        let middle = left + room * (place as f64 + 0.5);
        let first = middle - group.bars.len() as f64 * BAR / 2.0;
        for (number, (name, value)) in group.bars.iter().enumerate() {
            let (x, tall) = (first + number as f64 * BAR, value.clamp(0.0, 1.0) * HEIGHT);
            let colour = COLOURS.get(number).unwrap_or(&"black");
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{tall:.1}\" fill=\"{colour}\"><title>{} {:.1} %</title></rect>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{:.0}</text>",
                x + 2.0,
                base - tall,
                BAR - 4.0,
                escaped(name),
                value * 100.0,
                x + BAR / 2.0,
                base - tall - 3.0,
                value * 100.0
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            base + 16.0,
            escaped(&group.name)
        );
    }
}

fn legend(out: &mut String, panels: &[Panel], y: f64) {
    let Some(group) = panels.first().and_then(|panel| panel.groups.first()) else { return };
    for (number, (name, _)) in group.bars.iter().enumerate() {
        let x = 60.0 + number as f64 * 110.0;
        let colour = COLOURS.get(number).unwrap_or(&"black");
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            y - 9.0,
            x + 14.0,
            escaped(name)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_is_drawn_and_names_are_no_markup() {
        let group =
            |name: &str| Group { name: name.to_owned(), bars: vec![("a<b".to_owned(), 0.5), ("c".to_owned(), 2.0)] };
        let drawn = svg(&[Panel { title: "t & u".to_owned(), groups: vec![group("one"), group("two")] }]);
        assert_eq!(drawn.matches("<title>").count(), 4);
        assert!(drawn.contains("a&lt;b") && drawn.contains("t &amp; u") && !drawn.contains("a<b"));
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("height=\"220.0\""), "what is more than all is drawn as all");
    }
}
