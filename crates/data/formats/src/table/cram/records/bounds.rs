//! Sizes that compressed blocks say of themselves. The library that unpacks them makes room for what they say, so that is held against
//! the size of the block first (CRAMcodecs).

use super::Fault;
use super::cursor::Cursor;

/// Nested streams are one in another at most.
const DEPTH: usize = 3;
/// The flags of rANS Nx16 and of the adaptive arithmetic coder.
const STRIPE: u8 = 0x08;
const NO_SIZE: u8 = 0x10;
const RUNS: u8 = 0x40;
const PACKED: u8 = 0x80;
/// Positions of a name's tokens.
const TOKENS: usize = 128;
/// More names are not read at once: each takes some 4 KiB while a block is unpacked.
const NAMES: u64 = 1 << 17;
/// Larger dictionaries than those of `xz -9` are damage.
const DICTIONARY: u64 = 64 << 20;

/// Refuses a block whose content says another size than `raw`, or more names than there are records.
pub(super) fn check(method: u8, stored: &[u8], raw: u64, records: u64) -> Result<(), Fault> {
    let mut from = Cursor(stored);
    let told = match method {
        3 => return dictionary(stored, raw),
        4 => {
            from.take(5)?;
            from.u32()?.into()
        }
        5 | 6 => return entropy(from, method, raw, raw, DEPTH).map(drop),
        7 => from.uint7()?,
        8 => {
            let told = u64::from(from.u32()?);
            names(from, raw, records)?;
            told
        }
        _ => return Ok(()),
    };
    if told == raw { Ok(()) } else { Err("a block says two sizes of itself".into()) }
}

/// A stream of either coder, whose content takes `size` bytes unless it says otherwise, and no more than `limit`.
fn entropy(mut from: Cursor<'_>, method: u8, size: u64, limit: u64, depth: usize) -> Result<u64, Fault> {
    let flags = from.byte()?;
    let size = if flags & NO_SIZE == 0 { from.uint7()? } else { size };
    let within = |size: u64| if size <= limit { Ok(size) } else { Err(Fault::from("a block says that it is larger than it is")) };
    within(size)?;
    if flags & STRIPE != 0 {
        let depth = depth.checked_sub(1).ok_or("its streams lie too deep in each other")?;
        let count = u64::from(from.byte()?).max(1);
        let lengths = (0..count).map(|_| from.uint7()).collect::<Result<Vec<_>, _>>()?;
        for (number, length) in lengths.into_iter().enumerate() {
            let part = size / count + u64::from(size % count > number as u64);
            let stream = from.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            entropy(Cursor(stream), method, part, size, depth)?;
        }
        return Ok(size);
    }
    if flags & PACKED != 0 {
        let symbols = from.byte()?;
        from.take(symbols.into())?;
        within(from.uint7()?)?;
    }
    // The arithmetic coder keeps its run lengths among the values.
    if flags & RUNS != 0 && method == 5 {
        within(from.uint7()? >> 1)?;
        within(from.uint7()?)?;
    }
    Ok(size)
}

/// Tokenised names: a few streams for each token.
fn names(mut from: Cursor<'_>, raw: u64, records: u64) -> Result<(), Fault> {
    match u64::from(from.u32()?) {
        names if names > records => return Err("it has more names than records".into()),
        names if names > NAMES => return Err(Fault::Unread("more than 131,072 tokenised names in a block")),
        _ => {}
    }
    let method = if from.byte()? == 0 { 5 } else { 6 };
    // A token takes four bytes at most.
    let mut left = raw.saturating_mul(8) + 1024;
    let mut tokens = 0;
    while !from.0.is_empty() {
        let kind = from.byte()?;
        tokens += usize::from(kind & 0x80 != 0);
        if tokens > TOKENS {
            return Err("its names have too many tokens".into());
        }
        if kind & 0x40 != 0 {
            from.take(2)?;
            continue;
        }
        let length = from.uint7()?;
        let stream = from.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        left -= entropy(Cursor(stream), method, 0, left, DEPTH)?;
    }
    Ok(())
}

/// An xz stream says in its first block how large its dictionary is (xz file format §3.1, §5.3.1).
fn dictionary(stored: &[u8], raw: u64) -> Result<(), Fault> {
    let damage = "a block is no xz stream";
    let flags = stored.get(13).ok_or(damage)?;
    let mut from = Cursor(stored.get(14..).ok_or(damage)?);
    // Both sizes may stand in front, in seven bits a byte.
    for _ in 0..(flags >> 6).count_ones() {
        while from.byte()? >= 0x80 {}
    }
    let [filter, _, bits] = *from.take(3)?.first_chunk().ok_or(damage)?;
    if flags & 3 != 0 || filter != 0x21 || bits > 40 {
        return Err("a block is an xz stream with other filters than LZMA2".into());
    }
    let size = (2 | u64::from(bits) & 1) << (bits / 2 + 11);
    if size > DICTIONARY.max(2 * raw) { Err("a block says that its dictionary is larger than it is".into()) } else { Ok(()) }
}
