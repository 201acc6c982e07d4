//! Little-endian numbers at a place; zero where the bytes end before (fields that older versions of a header lack).

fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes.get(place..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

pub(super) fn u8_at(bytes: &[u8], place: usize) -> u8 {
    u8::from_le_bytes(at(bytes, place))
}

pub(super) fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes(at(bytes, place))
}

pub(super) fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(at(bytes, place))
}

pub(super) fn i32_at(bytes: &[u8], place: usize) -> i32 {
    i32::from_le_bytes(at(bytes, place))
}

pub(super) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(at(bytes, place))
}

pub(super) fn f64_at(bytes: &[u8], place: usize) -> f64 {
    f64::from_le_bytes(at(bytes, place))
}

/// Text up to the first zero byte.
pub(super) fn text_at(bytes: &[u8], place: usize, length: usize) -> String {
    let field = bytes.get(place..).unwrap_or_default();
    let field = field.get(..length).unwrap_or(field);
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// Overwrites bytes at a place, where they fit.
pub(super) fn put(bytes: &mut [u8], place: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(place..place + value.len()) {
        field.copy_from_slice(value);
    }
}
