//! `berth doctor`: what is wrong with this machine and its settings, a line a check, and what to do about it. It changes nothing and
//! leaves nothing behind, and may be run beside a server.

mod engine;
mod folders;
mod machine;
mod settings;

use std::io::Write;

/// Looks at everything, and says on `out` what it finds. Whether nothing fails, and all of it could be said.
pub async fn examine(out: &mut dyn Write) -> bool {
    let mut report = Report { out, failures: 0, warnings: 0, is_said: true };
    if let Some(config) = settings::check(&mut report) {
        let serves = machine::check(&mut report, &config);
        folders::check(&mut report, &config, serves);
        engine::check(&mut report, &config).await;
    }
    report.close()
}

/// What was found so far.
struct Report<'a> {
    out: &'a mut dyn Write,
    failures: usize,
    warnings: usize,
    /// So far `out` has taken everything.
    is_said: bool,
}

impl Report<'_> {
    /// All is well with `what`.
    fn ok(&mut self, what: &str, text: &str) {
        self.line("ok", what, text);
    }

    /// berth runs, but for something.
    fn warn(&mut self, what: &str, text: &str) {
        self.warnings += 1;
        self.line("warn", what, text);
    }

    /// berth does not start, or can't do what it is for.
    fn fail(&mut self, what: &str, text: &str) {
        self.failures += 1;
        self.line("fail", what, text);
    }

    fn line(&mut self, verdict: &str, what: &str, text: &str) {
        // Some errors have several lines.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.is_said &= writeln!(self.out, "{verdict:<4}  {what:<12}  {text}").is_ok();
    }

    fn close(mut self) -> bool {
        let verdict = match (self.failures, self.warnings) {
            (0, 0) => "all is well".to_owned(),
            (0, warnings) => format!("berth can run; warnings: {warnings}"),
            (failures, warnings) => format!("berth can't run as it should; failures: {failures}, warnings: {warnings}"),
        };
        self.is_said &= writeln!(self.out, "\n{verdict}").is_ok() && self.out.flush().is_ok();
        self.failures == 0 && self.is_said
    }
}
