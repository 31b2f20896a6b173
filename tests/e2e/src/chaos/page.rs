//! What does the report of a soak look like? One HTML file, pictures included, that needs nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use super::rest::Sample;
use super::{Done, Soak};
use crate::writer::Report;

const WIDTH: f64 = 1_100.0;
const HEIGHT: f64 = 160.0;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Chaos soak</title><style>
body{font:14px/1.5 system-ui,sans-serif;max-width:1160px;margin:2em auto;padding:0 1em;color:#222}
svg{display:block;background:#fafafa;border:1px solid #ddd;margin:.3em 0 1.2em}
table{border-collapse:collapse}td,th{padding:.15em .8em;text-align:left;border-bottom:1px solid #eee}
.bad{color:#b00020;font-weight:600}.good{color:#1b7f3b;font-weight:600}
</style>";

/// One curve over the time of the run.
struct Curve<'a> {
    title: &'a str,
    unit: &'a str,
    top: f64,
    points: Vec<(f64, f64)>,
}

/// The page.
pub(super) fn page(
    soak: &Soak,
    report: &Report,
    done: &[Done],
    (samples, violated): (&[Sample], &[String]),
) -> String {
    let mut page = HEAD.to_owned();
    let length = report.windows().last().map_or(1.0, |window| number(window.from_s) + 10.0);
    let _ = write!(
        page,
        "<h1>Chaos soak</h1><p>{} minutes, seed {}. The servers are those that the suite was given; without \
         images named they are stand-ins, not TiKV.</p>",
        soak.minutes, soak.seed
    );
    verdict(&mut page, violated);
    let _ = write!(page, "<p>{}</p>", escape(&report.to_string()));
    for curve in curves(report, samples) {
        picture(&mut page, &curve, done, length);
    }
    page.push_str("<p>Blue: done on purpose. Red: a fault, for as long as it lasted.</p>");
    page.push_str("<table><tr><th>from s</th><th>to s</th><th>what</th></tr>");
    for act in done {
        let class = if act.on_purpose { "" } else { " class=\"bad\"" };
        let (from, to, what) = (act.begin.as_secs(), act.end.as_secs(), escape(&act.what));
        let _ = write!(page, "<tr><td>{from}</td><td>{to}</td><td{class}>{what}</td></tr>");
    }
    page.push_str("</table></html>\n");
    page
}

fn verdict(page: &mut String, violated: &[String]) {
    if violated.is_empty() {
        page.push_str("<p class=\"good\">No violation.</p>");
        return;
    }
    let _ = write!(page, "<p class=\"bad\">{} violations:</p><ul>", violated.len());
    for violation in violated {
        let _ = write!(page, "<li>{}</li>", escape(violation));
    }
    page.push_str("</ul>");
}

fn curves(report: &Report, samples: &[Sample]) -> Vec<Curve<'static>> {
    let windows = report.windows();
    let middle = |from: u64| number(from) + 5.0;
    let share = windows.iter().map(|w| (middle(w.from_s), w.share() * 100.0)).collect();
    let slow = windows.iter().map(|w| (middle(w.from_s), number(w.p99_ms.unwrap_or(0))));
    let slow: Vec<_> = slow.collect();
    let memory = samples.iter().map(|s| (seconds(s.at), f64::from(s.kib) / 1_024.0));
    let memory: Vec<_> = memory.collect();
    let top = |points: &[(f64, f64)]| points.iter().fold(1.0, |top: f64, (_, y)| top.max(*y)) * 1.1;
    vec![
        Curve { title: "Attempts that succeeded, per 10 s", unit: "%", top: 100.0, points: share },
        Curve {
            title: "Slowest of a hundred, per 10 s",
            unit: "ms",
            top: top(&slow),
            points: slow,
        },
        Curve { title: "The operator's memory", unit: "MiB", top: top(&memory), points: memory },
    ]
}

fn picture(page: &mut String, curve: &Curve<'_>, done: &[Done], length: f64) {
    let x = |seconds: f64| seconds / length.max(1.0) * WIDTH;
    let y = |value: f64| HEIGHT - value / curve.top * HEIGHT;
    let _ = write!(
        page,
        "<h2>{} ({})</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\">",
        curve.title, curve.unit
    );
    for act in done {
        let (from, to) = (x(seconds(act.begin)), x(seconds(act.end)));
        let color = if act.on_purpose { "#3b6fd6" } else { "#d64545" };
        let _ = write!(
            page,
            "<rect x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"{color}\" \
             fill-opacity=\".22\"><title>{}</title></rect>",
            (to - from).max(1.5),
            escape(&act.what)
        );
    }
    let points: Vec<String> =
        curve.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
    let _ = write!(
        page,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#222\" stroke-width=\"1.2\"/>\
         <text x=\"4\" y=\"12\" font-size=\"11\">{:.0} {}</text></svg>",
        points.join(" "),
        curve.top,
        curve.unit
    );
}

fn number(small: u64) -> f64 {
    f64::from(u32::try_from(small).unwrap_or(u32::MAX))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
