//! Where text is cut so that no character is. Pure: it neither reads nor sends.

/// How many bytes at the end are the beginning of a character whose rest is not there: three at the most.
pub fn unfinished(bytes: &[u8]) -> usize {
    let begins =
        |end: &[u8]| matches!(std::str::from_utf8(end), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none());
    (1..=bytes.len().min(3)).find(|count| begins(&bytes[bytes.len() - count..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_character_is_unfinished() {
        let text = "aé€😀\u{10ffff}\0\n\u{7f}z";
        for end in 0..=text.len() {
            let whole = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            assert_eq!(unfinished(&text.as_bytes()[..end]), end - whole, "up to {end}");
        }
        // What is no text is not waited for, a surrogate and an overlong form included.
        for bytes in [&[0xff][..], &[0xed, 0xa0], &[0xc0], &[0x80, 0x80], &[0xf5]] {
            assert_eq!(unfinished(bytes), 0, "{bytes:?}");
        }
    }
}
