//! Reading a container's log: from its last lines or from a moment on, to its end, or for as long as the container runs.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::{
    Engine, Failure,
    exec::Source,
    failed, hijack,
    log_lines::{Entries, Entry, Joiner, Line, Stamp},
};
use crate::{
    domain::id::Cuid,
    error::{Error, Result},
};

/// How many more entries than lines are asked for at first: the first of each source may be the end of a line that begins before.
const SPARE: usize = 2;
/// How much more of a log is looked at where its last entries were parts of long lines.
const MORE: usize = 8;
/// How many entries may be written between the look at a log and the reading of it, before fewer of its old lines are given.
const MEANWHILE: usize = 10_000;

/// How far back it is looked for lines of the other stream that are older than their place in the log.
const RECENT: usize = 256;

/// What of a log is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The last so many lines, at least one, of all that is left in by the rest; `None`: all.
    pub tail: Option<usize>,
    /// From this moment on.
    pub since: Option<Stamp>,
    /// Up to this moment.
    pub until: Option<Stamp>,
    /// Only of this stream.
    pub source: Option<Source>,
    /// Only what is younger than this moment.
    pub after: Option<Stamp>,
}

/// One life of a container at the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The engine's id of the container.
    pub container: String,
    /// When it was started last, if ever.
    pub started: Option<DateTime<Utc>>,
    /// Whether its main process is there, and not only about to be started again by its restart policy.
    pub running: bool,
}

impl Run {
    /// Whether this is the same life of the same container.
    pub fn is(&self, other: &Self) -> bool {
        self.container == other.container && self.started == other.started
    }
}

/// A log that is being read.
pub struct Log {
    bytes: hijack::Bytes,
    entries: Entries,
    joiner: Joiner,
    /// Where the wanted lines begin, until that was seen or is past.
    begin: Option<Begin>,
    after: Option<Stamp>,
    /// How many lines are still to be given: some may have come since the last ones were looked for.
    left: usize,
}

impl Engine {
    /// How the container is that has this cuid; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn run(&self, container: Cuid) -> Result<Option<Run>> {
        Ok(self.run_and_env(container).await?.map(|(run, _)| run))
    }

    /// The same with its environment, as `NAME=value`.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn run_and_env(&self, container: Cuid) -> Result<Option<(Run, Vec<String>)>> {
        let found = match self.docker()?.inspect_container(&container.to_string(), None).await {
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let state = found.state.unwrap_or_default();
        let run = Run {
            container: found.id.unwrap_or_default(),
            started: state
                .started_at
                .and_then(|at| DateTime::parse_from_rfc3339(&at).ok())
                .map(|at| at.to_utc())
                .filter(|at| at.timestamp() > 0),
            running: state.running == Some(true) && state.restarting != Some(true),
        };
        Ok(Some((run, found.config.and_then(|config| config.env).unwrap_or_default())))
    }

    /// Opens the log of the container with this id of the engine's.
    ///
    /// # Errors
    /// [`Error::LogUnreadable`], [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn log(&self, container: &str, wanted: &Wanted, follow: bool) -> Result<Log> {
        let (begin, entries) = match wanted.tail {
            None => (None, None),
            Some(lines) => self.look_back(container, wanted, lines).await?,
        };
        let since = begin.map(|begin| begin.stamp).max(wanted.since).max(wanted.after);
        let bytes = self.log_bytes(container, &Wanted { since, ..*wanted }, entries, follow).await?;
        let left = wanted.tail.filter(|_| !follow).unwrap_or(usize::MAX);
        Ok(Log { bytes, entries: Entries::default(), joiner: Joiner::default(), begin, after: wanted.after, left })
    }

    /// Where the last `lines` lines of what is wanted begin, unless there are no more, and how many of the log's last entries these are.
    async fn look_back(&self, container: &str, wanted: &Wanted, lines: usize) -> Result<(Option<Begin>, Option<usize>)> {
        // The engine looks at the last entries first and then leaves out what is not wanted, so only all of them will do.
        let mut asked = (wanted.until.is_none() && wanted.source.is_none()).then_some(lines + SPARE);
        loop {
            let mut look = LookBack::new(lines);
            let (mut bytes, mut entries) = (self.log_bytes(container, wanted, asked, false).await?, Entries::default());
            while let Some(bytes) = bytes.next().await? {
                entries.take(&bytes, |entry| look.take(entry))?;
            }
            let all = asked.is_none_or(|asked| look.count < asked);
            match look.begin(all) {
                // More of them, as some will have come by the time that they are read.
                Some(begin) => return Ok((begin, asked.map(|asked| asked.saturating_mul(2).saturating_add(MEANWHILE)))),
                None => asked = asked.map(|asked| asked.saturating_mul(MORE)),
            }
        }
    }

    async fn log_bytes(&self, container: &str, wanted: &Wanted, entries: Option<usize>, follow: bool) -> Result<hijack::Bytes> {
        let version = self.docker()?.client_version();
        let on = |source| u8::from(wanted.source.is_none_or(|wanted| wanted == source));
        let tail = entries.map_or_else(|| "all".to_owned(), |entries| entries.to_string());
        let mut path = format!(
            "/v{}.{}/containers/{container}/logs?timestamps=1&stdout={}&stderr={}&tail={tail}&follow={}",
            version.major_version,
            version.minor_version,
            on(Source::Stdout),
            on(Source::Stderr),
            u8::from(follow)
        );
        for (name, moment) in [("since", wanted.since), ("until", wanted.until)] {
            if let Some(moment) = moment {
                path.extend(["&", name, "=", &moment.to_query()]);
            }
        }
        hijack::get(&self.host, &path, follow).await.map_err(|error| match error {
            Error::EngineRefused(words) if words.contains("does not support reading") => Error::LogUnreadable,
            error => error,
        })
    }
}

impl Log {
    /// Gives the lines that have come by now, of which there may be none; false at the end, with what was left of unfinished ones. The end
    /// may also be that of the connection, where the log was followed. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where the connection broke off.
    pub async fn read(&mut self, mut each: impl FnMut(&Line<'_>)) -> Result<bool> {
        let bytes = self.bytes.next().await?;
        let Self { entries, joiner, begin, after, left, .. } = self;
        let mut each = |line: &Line<'_>| {
            if *left > 0 {
                *left -= 1;
                each(line);
            }
        };
        let Some(bytes) = bytes else {
            joiner.finish(each);
            return Ok(false);
        };
        entries.take(&bytes, |entry| {
            if after.is_some_and(|after| entry.stamp <= after) {
                return;
            }
            if begin.as_mut().is_some_and(|begin| begin.is_behind(&entry)) {
                return;
            }
            *begin = None;
            joiner.take(entry, &mut each);
        })?;
        Ok(true)
    }
}

/// The entry that the wanted lines begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begin {
    source: Source,
    stamp: Stamp,
    /// How many entries are before it although their moment is not: the two streams are read side by side.
    early: usize,
}

impl Begin {
    /// Whether the entry stands before this one. This one may be gone by now, so it is not waited for.
    fn is_behind(&mut self, entry: &Entry<'_>) -> bool {
        if entry.stamp < self.stamp {
            return true;
        }
        let early = self.early > 0 && (entry.source, entry.stamp) != (self.source, self.stamp);
        self.early -= usize::from(early);
        early
    }
}

/// Finds where the last lines begin.
struct LookBack {
    lines: usize,
    /// The beginnings of the last lines, at most so many.
    begins: VecDeque<Begin>,
    /// How many entries there were.
    count: usize,
    first: Option<Stamp>,
    /// Of the last entries.
    recent: VecDeque<Stamp>,
    /// Of standard output and of standard error: the last entry's moment, and whether its line goes on.
    last: [Option<(Stamp, bool)>; 2],
    /// What may be the end of a line that began earlier, and so counts only where there is nothing earlier.
    suspects: VecDeque<Begin>,
}

impl LookBack {
    fn new(lines: usize) -> Self {
        Self {
            lines,
            begins: VecDeque::new(),
            count: 0,
            first: None,
            recent: VecDeque::new(),
            last: [None; 2],
            suspects: VecDeque::new(),
        }
    }

    fn take(&mut self, entry: Entry<'_>) {
        self.count += 1;
        let first = *self.first.get_or_insert(entry.stamp);
        let last = &mut self.last[usize::from(entry.source == Source::Stderr)];
        let goes_on = last.is_some_and(|(stamp, goes_on)| goes_on && stamp == entry.stamp);
        // What begins before the first entry has an earlier moment.
        let suspect = last.is_none() && entry.stamp <= first;
        *last = Some((entry.stamp, !entry.ends_line()));
        let early = self.recent.iter().rev().take_while(|stamp| **stamp >= entry.stamp).count();
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(entry.stamp);
        if goes_on {
            return;
        }
        let begin = Begin { source: entry.source, stamp: entry.stamp, early };
        if suspect {
            self.suspects.push_back(begin);
        } else {
            self.begins.push_back(begin);
            if self.begins.len() > self.lines {
                self.begins.pop_front();
            }
        }
    }

    /// Where the last lines begin, if that is known: `None` inside where `all` was seen and there are no more lines than wanted.
    fn begin(&self, all: bool) -> Option<Option<Begin>> {
        if self.begins.len() == self.lines {
            return Some(self.begins.front().copied());
        }
        let missing = self.lines - self.begins.len();
        // There is nothing before the suspects, so they are lines, too.
        let from = self.suspects.len().saturating_sub(missing);
        let cut = (from > 0).then(|| self.suspects.get(from).copied()).flatten();
        all.then_some(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as the engine sends them: `o` or `e` for the stream, and the second.
    fn bytes(entries: &str) -> Vec<u8> {
        let entry = |entry: &str| {
            let (source, second) = entry.split_at(1);
            let body = format!("2026-01-01T00:00:{second:0>2}.000000000Z {entry}\n");
            [&[if source == "e" { 2 } else { 1 }, 0, 0, 0], &(body.len() as u32).to_be_bytes()[..], body.as_bytes()].concat()
        };
        entries.split(' ').flat_map(entry).collect()
    }

    /// What is read of `now`, where the last `lines` of `before` were to be found.
    fn read(lines: usize, before: &str, now: &str) -> String {
        let mut look = LookBack::new(lines);
        Entries::default().take(&bytes(before), |entry| look.take(entry)).unwrap();
        let (mut begin, mut seen) = (look.begin(true).unwrap(), Vec::new());
        let each = |entry: Entry<'_>| {
            if !begin.as_mut().is_some_and(|begin| begin.is_behind(&entry)) {
                begin = None;
                Joiner::default().take(entry, |line| seen.push(String::from_utf8(line.bytes.to_vec()).unwrap()));
            }
        };
        Entries::default().take(&bytes(now), each).unwrap();
        seen.join(" ")
    }

    #[test]
    fn the_last_lines_are_found_also_where_their_first_is_gone_meanwhile() {
        assert_eq!(read(2, "o1 e2 o3 o4", "o1 e2 o3 o4 o5"), "o3 o4 o5");
        assert_eq!(read(1, "o1 o2 e3", "o6 o7 o8"), "o6 o7 o8", "a stream that lacks the begin");
        assert_eq!(read(2, "o1 e5 o4 o6", "o1 e5 o4 o6"), "o4 o6", "the streams are not quite in order");
        assert_eq!(read(1, "o1 e5 e6 o4", "o7 o8 o9"), "o9", "and no more is dropped than there was");
    }
}
