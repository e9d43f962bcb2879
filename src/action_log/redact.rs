//! Takes credentials out of the URLs in a text: what stands before the `@` of an authority, also of one whose scheme was left out, and the
//! values of parameters that are called like one, as they are or percent-encoded, however often.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What stands in a credential's place.
const HIDDEN: &str = "***";

/// A parameter whose name has one of these in it, in whatever case, holds a credential.
const SECRET: [&str; 10] = ["token", "passw", "passphrase", "pwd", "secret", "key", "auth", "credential", "signature", "jwt"];

/// A longer name of a parameter, in bytes, is none.
const NAME_BYTES: usize = 256;

/// What ends a URL's authority, and a parameter's value.
const AUTHORITY_END: &[u8] = b"/?#\\\"'`<> \t\r\n";
const VALUE_END: &[u8] = b"&;#\"'`<>) \t\r\n";

/// `text` without credentials in its URLs.
pub fn redact(text: &str) -> Cow<'_, str> {
    let (mut clean, mut kept, mut at) = (String::new(), 0, 0);
    while at < text.len() {
        let hidden = after_slashes(text, at).and_then(|start| userinfo(text, start));
        let hidden = hidden.or_else(|| pair(text, at)).or_else(|| value(text, at));
        if let Some((start, end)) = hidden {
            clean.push_str(&text[kept..start]);
            clean.push_str(HIDDEN);
            (kept, at) = (end, end);
        } else {
            at += 1;
        }
    }
    if kept == 0 { Cow::Borrowed(text) } else { Cow::Owned(clean + &text[kept..]) }
}

/// Where an authority begins whose two slashes are at `at`.
fn after_slashes(text: &str, at: usize) -> Option<usize> {
    let second = at + one_of(text, at, b"/")?;
    Some(second + one_of(text, second, b"/")?)
}

/// Where the user and the password are in the authority at `start`.
fn userinfo(text: &str, start: usize) -> Option<(usize, usize)> {
    let end = (start..text.len()).find(|at| one_of(text, *at, AUTHORITY_END).is_some()).unwrap_or(text.len());
    let at = (start..end).rev().find(|at| one_of(text, *at, b"@").is_some())?;
    (at > start).then_some((start, at))
}

/// Where a user and a password are behind a single slash at `at`. An image's tag and digest look similar.
fn pair(text: &str, at: usize) -> Option<(usize, usize)> {
    let (start, end) = userinfo(text, at + one_of(text, at, b"/")?)?;
    let host = &text[end + one_of(text, end, b"@")?..];
    let has_colon = (start..end).any(|at| one_of(text, at, b":").is_some());
    (has_colon && !["sha256", "sha512"].iter().any(|digest| host.starts_with(digest))).then_some((start, end))
}

/// Where the value is of a parameter whose separator is at `at`, if it is a credential.
fn value(text: &str, at: usize) -> Option<(usize, usize)> {
    let name = at + one_of(text, at, b"?&;#/")?;
    let is_name =
        |at: usize| text.as_bytes().get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.~[]%+".contains(byte));
    let longest = text.len().min(name + NAME_BYTES);
    let equals = (name..longest).find(|at| one_of(text, *at, b"=").is_some() || !is_name(*at))?;
    let start = equals + one_of(text, equals, b"=")?;
    let called = plain(&text[name..equals]).to_ascii_lowercase();
    if called != "sig" && !SECRET.iter().any(|word| called.contains(word)) {
        return None;
    }
    let end = (start..text.len()).find(|at| one_of(text, *at, VALUE_END).is_some()).unwrap_or(text.len());
    (end > start).then_some((start, end))
}

/// A name without its percent-encodings.
fn plain(name: &str) -> String {
    let mut name = name.to_owned();
    loop {
        let decoded = percent_decode_str(&name).decode_utf8_lossy().into_owned();
        if decoded.len() == name.len() {
            return name;
        }
        name = decoded;
    }
}

/// How long what stands at `at` is, if it is one of `these` characters: one byte, or three where it is percent-encoded, and two more for
/// each time that this was encoded again.
fn one_of(text: &str, at: usize, these: &[u8]) -> Option<usize> {
    let bytes = text.as_bytes();
    match *bytes.get(at)? {
        b'%' => {
            let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            let mut code = at + 1;
            while bytes[code..].starts_with(b"25") && digit(code + 2).is_some() && digit(code + 3).is_some() {
                code += 2;
            }
            let byte = u8::try_from(digit(code)? * 16 + digit(code + 1)?).ok()?;
            these.contains(&byte).then_some(code + 2 - at)
        }
        byte => these.contains(&byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_urls_and_nothing_else_is() {
        for (text, clean) in [
            ("https://user:pw@host/a", "https://***@host/a"),
            ("pull https://user:p@w@host:5000/a failed", "pull https://***@host:5000/a failed"),
            ("/x/https%3A%2F%2Fuser%3Apw%40host%2Fa", "/x/https%3A%2F%2F***%40host%2Fa"),
            ("//user:pw@host/a", "//***@host/a"),
            ("a?token=t&x=1", "a?token=***&x=1"),
            ("a?x=1&Access_Token=t#f", "a?x=1&Access_Token=***#f"),
            ("\"http://h/?api-key=é\" is wrong", "\"http://h/?api-key=***\" is wrong"),
            ("a?password=a&secret=b", "a?password=***&secret=***"),
            ("a%3Fpassword%3Da%26b%3D1", "a%3Fpassword%3D***%26b%3D1"),
            ("a?to%6ben=t", "a?to%6ben=***"),
            ("/x/https:%252F%252Fu:pw@h/a", "/x/https:%252F%252F***@h/a"),
            ("/x/https%25253A%25252F%25252Fu%25253Apw%252540h", "/x/https%25253A%25252F%25252F***%252540h"),
            ("a?to%256ben%3Dt", "a?to%256ben%3D***"),
            ("/proxy/user:pw@host/x", "/proxy/***@host/x"),
            ("\"/user%3Apw%40host/x\" is wrong", "\"/***%40host/x\" is wrong"),
            ("/x/password=pw", "/x/password=***"),
            ("a;key=b;c=d", "a;key=***;c=d"),
            ("a?X-Amz-Signature=ab/c&sig=d&assign=e", "a?X-Amz-Signature=***&sig=***&assign=e"),
        ] {
            assert_eq!(redact(text), clean, "{text}");
        }
        for text in [
            "",
            "/containers/c1",
            "label is key=value",
            "a?tag=b&x=c",
            "mail a@b",
            "http://h/a@sha256:1",
            "host:5000/library/nginx:1.25@sha256:1",
            "/a:b/c@d",
            "100% a//b",
            "é%",
            "?token=",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
