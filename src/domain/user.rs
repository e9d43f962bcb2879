//! [`User`]: as whom a container's main process runs, and whose its files are.

use serde::{Deserialize, Serialize};

use super::{owner::Owner, text::text};

/// The largest uid or gid that Docker takes.
const MOST: u32 = 0x7fff_ffff;

text!(
    /// `name|uid[:group|gid]`, or `image` for the image's own user.
    User,
    {"type": "string", "pattern": USER, "examples": ["1000:1000"]},
    |text| {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        if [Some(user), group].into_iter().flatten().all(is_name_or_number) {
            Ok(())
        } else {
            Err("a user is \"image\", or a name or uid, with a group or gid after a colon, such as 1000:1000".into())
        }
    }
);

/// A name, whose first character is no digit, or a number; and another after a colon.
const USER: &str = concat!(
    r"^(?:[0-9]{1,10}|[^\x00-@\[-\^`{-\x7f][^\x00-#%-,/:-@\[-\^`{-\x7f]{0,254})",
    r"(?::(?:[0-9]{1,10}|[^\x00-@\[-\^`{-\x7f][^\x00-#%-,/:-@\[-\^`{-\x7f]{0,254}))?$",
);

fn is_name_or_number(text: &str) -> bool {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u32>().is_ok_and(|number| number <= MOST);
    }
    // What is not ASCII may be a letter of somebody's.
    let plain = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "_.-$".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || !c.is_ascii() || c == '_')
        && text.len() <= 255
        && text.chars().all(plain)
}

impl User {
    /// Whether it is whomever the image names.
    pub fn is_of_image(&self) -> bool {
        self.as_str() == "image"
    }

    /// Whose the container's files are, where that is known by number: a uid without a gid has group 0, which is what
    /// Docker gives to one that the image's `passwd` doesn't know.
    pub fn owner(&self) -> Option<Owner> {
        let (user, group) = self.as_str().split_once(':').unwrap_or((self.as_str(), "0"));
        let number = |text: &str| if text == "root" { Some(0) } else { text.parse().ok() };
        Some(Owner { uid: number(user)?, gid: number(group).unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_a_number_with_or_without_a_group() {
        for (text, owner) in [
            ("1000", Some("1000:0")),
            ("1000:1001", Some("1000:1001")),
            ("0", Some("0:0")),
            ("root", Some("0:0")),
            ("root:root", Some("0:0")),
            ("0:5", Some("0:5")),
            ("1000:staff", Some("1000:0")),
            ("www-data", None),
            ("www-data:33", None),
            ("image", None),
            ("dömäin$", None),
            ("2147483647", Some("2147483647:0")),
        ] {
            let user = User::try_from(text.to_owned()).unwrap();
            assert_eq!(user.owner().map(|owner| owner.to_string()).as_deref(), owner, "{text}");
            assert_eq!(user.is_of_image(), text == "image");
        }
        for text in
            ["", ":", "a:", ":5", "a:b:c", "a b", "-1", "2147483648", "1x", "a/b", "$USER", "a\0", "a\n", "1000:4294967295"]
        {
            assert!(User::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
