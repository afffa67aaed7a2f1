//! Tokens of the configuration: what they look like, where they are read, and by what they are known.

use std::num::NonZeroU64;

use sha2::{Digest, Sha256};

use super::config::TokenConfig;
use crate::setting::InvalidSetting;

/// Shortest token that a configuration may hold, in bytes.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// Longest one, which a `connect` frame may still hold.
pub(super) const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest id of a user, in bytes.
pub(super) const USER_BYTES_MAX: usize = 128;

/// The SHA-256 of a token, by which it is known: nobody who sees that can use it.
pub(crate) type TokenHash = [u8; 32];

pub(super) fn digest(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// A number that stands for the token of that hash: nobody chooses two tokens that share it.
pub(super) fn number(hash: &TokenHash) -> NonZeroU64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    NonZeroU64::new(u64::from_be_bytes([a, b, c, d, e, f, g, h])).unwrap_or(NonZeroU64::MIN)
}

/// The hash of a token as `token_sha256` has it.
pub fn token_sha256(token: &str) -> String {
    digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses what is no user's id.
///
/// # Errors
/// Says what one is.
pub(super) fn check_user(user: &str) -> Result<(), &'static str> {
    let is_good = !user.is_empty()
        && user.len() <= USER_BYTES_MAX
        && !user.chars().any(|c| c.is_control() || c == '*' || c == '>');
    if is_good { Ok(()) } else { Err("it has 1 to 128 bytes, and no control characters, '*' or '>'") }
}

/// Why a setting of a token is wrong.
pub(super) fn wrong<T>(message: String) -> Result<T, InvalidSetting> {
    Err(InvalidSetting::new("access.token", message))
}

/// The hash of a token of the configuration. Reads its file.
///
/// # Errors
/// Says what is wrong, without quoting a token.
pub(super) fn read(config: &TokenConfig) -> Result<TokenHash, InvalidSetting> {
    let user = &config.user;
    if user.is_empty() {
        return wrong("user is missing: who brings the token".into());
    }
    if let Err(what) = check_user(user) {
        return wrong(format!("\"{}\" is no user: {what}", user.escape_debug()));
    }
    let text = match (&config.token, &config.token_file, &config.token_sha256) {
        (Some(token), None, None) => {
            token_of(token.as_bytes()).or_else(|why| wrong(format!("the token of user \"{user}\" {why}")))?
        }
        (None, Some(path), None) => {
            let bytes =
                std::fs::read(path).or_else(|e| wrong(format!("{} cannot be read: {e}", path.display())))?;
            token_of(&bytes).or_else(|why| wrong(format!("the token in {} {why}", path.display())))?
        }
        (None, None, Some(hex)) => {
            let wrong = || format!("the token_sha256 of user \"{user}\" is not 64 hexadecimal digits");
            return hash_of(hex).ok_or_else(|| InvalidSetting::new("access.token", wrong()));
        }
        _ => return wrong(format!("user \"{user}\" needs either token, token_file or token_sha256")),
    };
    if text.len() < TOKEN_BYTES_MIN {
        return wrong(format!("the token of user \"{user}\" is shorter than {TOKEN_BYTES_MIN} bytes"));
    }
    Ok(digest(&text))
}

/// The hash that is written in hexadecimal, if it is one.
pub(super) fn hash_of(hex: &str) -> Option<TokenHash> {
    let digits = hex.trim().as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(hash)
}

/// The token that is written there: without the white space around it, and without the mark that some
/// editors put at the begin of a file.
///
/// # Errors
/// Says why no client could ever bring it, without quoting it.
pub fn token_of(bytes: &[u8]) -> Result<String, String> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes).trim_ascii();
    if let Some(at) = text.iter().position(|byte| !byte.is_ascii_graphic()) {
        let what = match text[at] {
            0xfe | 0xff if at == 0 => "UTF-16",
            0 => "a NUL",
            byte if byte.is_ascii_whitespace() => "a blank or a line's end",
            byte if byte.is_ascii() => "a control character",
            _ => "something that is not ASCII",
        };
        return Err(format!("holds {what}, at byte {}: only visible ASCII can be sent", at + 1));
    }
    if text.len() > TOKEN_BYTES_MAX {
        return Err(format!("is longer than {TOKEN_BYTES_MAX} bytes"));
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_mended_or_refused_never_kept_as_nobody_can_bring_it() {
        const TOKEN: &str = "0123456789abcdef";
        for good in ["0123456789abcdef", "  0123456789abcdef\r\n", "\u{feff}0123456789abcdef\n"] {
            assert_eq!(token_of(good.as_bytes()).as_deref(), Ok(TOKEN));
        }
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(TOKEN.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for (bad, said) in [
            (&b"0123456789\0abcdef"[..], "a NUL, at byte 11"),
            (b"0123456789 abcdef", "a blank"),
            (b"0123456789abcdef\n0123456789abcdef", "a line's end"),
            (b"0123456789\x07abcdef", "a control character"),
            ("0123456789\u{e9}abcdef".as_bytes(), "not ASCII"),
            (b"0123456789\xffabcdef", "not ASCII"),
            (&utf16, "UTF-16"),
            (&[b'x'; 9000], "longer than"),
        ] {
            let why = token_of(bad).expect_err(said);
            assert!(why.contains(said) && !why.contains("0123"), "{why}");
        }
    }

    #[test]
    fn a_hash_is_64_digits() {
        let hex = token_sha256("0123456789abcdef");
        assert_eq!(hash_of(&hex), Some(digest("0123456789abcdef")));
        assert_eq!(hash_of(&hex.to_uppercase()), hash_of(&hex));
        for bad in [
            "",
            "0",
            &hex[1..],
            &format!("{hex}0"),
            &hex.replace(char::is_numeric, "g"),
            &"\u{e9}".repeat(32),
        ] {
            assert_eq!(hash_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_of_a_user_has_bounds() {
        for good in ["alice", "a:b", "\u{e4}", &"x".repeat(128)] {
            assert!(check_user(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "a>b", "a\nb", "a\0", "\u{85}", &"x".repeat(129)] {
            assert!(check_user(bad).is_err(), "{bad:?}");
        }
    }
}
