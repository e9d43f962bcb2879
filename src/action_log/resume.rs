//! Where the chain goes on when the log is opened. Whatever is wrong with the head or with the end of the log must stay to be seen once
//! the next line is written: then numbers are left out.

use std::{io, path::Path};

use super::{
    backwards::Backwards,
    chain::{Link, Place, hash},
    files::{self, Opened},
    head::Head,
};

/// Where the chain goes on, and what `actions.head` has, where that is the log's.
pub(super) fn resume(folder: &Path) -> io::Result<(Head, Option<Head>)> {
    let files = files::all(folder)?;
    let found = last(&files)?;
    let known = Head::read(folder).unwrap_or_else(|error| {
        tracing::error!(%error, "actions.head can't be read");
        None
    });
    let Some(head) = known else { return Ok(without_head(folder, found)) };
    if head.last.seq > found.seq {
        let (first, last) = (found.seq + 1, head.last.seq);
        tracing::error!(
            first,
            last,
            "lines of the action log are missing at its end; berth verify-log tells of them from now on"
        );
        return Ok((head.clone(), Some(head)));
    }
    if head.last.seq == found.seq && head.last.hash != found.hash {
        tracing::error!(
            number = found.seq,
            "the last line of the action log was changed; berth verify-log tells of it from now on"
        );
        return Ok((head.clone(), Some(head)));
    }
    if head.is_possible() && has(&files, &head.last)? {
        return Ok((Head { last: found, ..head.clone() }, Some(head)));
    }
    tracing::error!("actions.head is not this log's; {LEFT_OUT}");
    Ok((Head { last: found.without(1), dropped: head.dropped.clone().filter(|_| head.is_possible()) }, None))
}

/// What is done about a head that is wrong.
pub(super) const LEFT_OUT: &str = "a number is left out, so that berth verify-log tells of it from now on";

/// A log without a head is a new one, or of a version that had no numbers. It gets one before its first line, so that every other has one.
fn without_head(folder: &Path, found: Place) -> (Head, Option<Head>) {
    if found.seq > 0 {
        tracing::error!("there is no actions.head, so whether the action log was cut can't be told; {LEFT_OUT}");
        return (Head { last: found.without(1), dropped: None }, None);
    }
    let head = Head { last: found, dropped: None };
    match head.write(folder) {
        Ok(()) => (head.clone(), Some(head)),
        Err(error) => {
            tracing::error!(%error, "the action log's head can't be written");
            (head, None)
        }
    }
}

/// The log's last line.
fn last(files: &[Opened]) -> io::Result<Place> {
    for opened in files {
        if let Some(last) = files::last(&opened.file)? {
            return Ok(last);
        }
    }
    Ok(Place::start())
}

/// Whether the log has the line of this place, or one that names it as the one before. After a crash it is not far from the end.
fn has(files: &[Opened], place: &Place) -> io::Result<bool> {
    for opened in files {
        let mut lines = Backwards::new(&opened.file, files::whole_lines(&opened.file)?);
        while let Some(line) = lines.next()? {
            let Some(Link { seq, prev }) = Link::of(&line.bytes) else { continue };
            match seq.unwrap_or_default() {
                seq if seq > place.seq + 1 => (),
                seq if seq == place.seq + 1 && prev.as_ref() != Some(&place.hash) => (),
                seq if seq == place.seq => return Ok(hash(&line.bytes) == place.hash),
                seq => return Ok(seq > place.seq),
            }
        }
    }
    // All of it: there is nothing before the first line.
    Ok(*place == Place::start())
}
