//! Raw inflate with block stops, bit-wise restarts and dictionaries: the one place that talks to zlib's C interface
//! (zlib-rs, pure Rust; its safe interface has neither block stops nor `inflatePrime`).
//!
//! Invariant of [`Inflater`]: `stream` is boxed (its address is stable), was set up by `inflateInit2_`, is used from one thread at
//! a time, holds no pointer into a caller's buffer outside [`Inflater::inflate`], and is released once, in `drop`.

use libz_rs_sys as z;

/// The farthest a match may reach back.
pub(crate) const WINDOW: usize = 32 * 1024;

/// When a call to [`Inflater::inflate`] should return.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// When the input is used up or the output is full.
    Full,
    /// Also at the end of a deflate block.
    Block,
}

/// What one call did.
pub(crate) struct Progress {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    /// The deflate stream is complete.
    pub(crate) ended: bool,
    /// Stopped between two blocks: this many bits of the last consumed byte are still unused.
    pub(crate) between_blocks: Option<u32>,
}

pub(crate) struct Inflater {
    stream: Box<z::z_stream>,
}

// SAFETY: the stream's state is a heap allocation of its own that no other thread knows of; moving it to another thread is sound.
unsafe impl Send for Inflater {}

impl Inflater {
    /// A decoder of raw deflate data.
    pub(crate) fn new() -> Self {
        let mut stream = Box::new(z::z_stream::default());
        let size = size_of::<z::z_stream>() as i32;
        // SAFETY: `stream` is a valid, default-initialised stream; the version text is a NUL-terminated static.
        let code = unsafe { z::inflateInit2_(&mut *stream, -15, z::zlibVersion(), size) };
        assert_eq!(code, z::Z_OK, "inflate state could not be allocated");
        Self { stream }
    }

    /// Forgets everything: the next input is the start of a deflate stream.
    pub(crate) fn reset(&mut self) {
        // SAFETY: the stream is initialised (invariant).
        unsafe { z::inflateReset(&mut *self.stream) };
    }

    /// Starts in the middle of a stream: `bits` bits (0 to 7) of `value` come before the next input byte, and `window` is what
    /// was put out before. Must follow [`Inflater::new`] or [`Inflater::reset`].
    pub(crate) fn restart(&mut self, bits: u8, value: u8, window: &[u8]) -> bool {
        let window = &window[window.len().saturating_sub(WINDOW)..];
        // SAFETY: the stream is initialised; the dictionary is only read during the call, with its own length.
        unsafe {
            (bits == 0 || z::inflatePrime(&mut *self.stream, i32::from(bits), i32::from(value)) == z::Z_OK)
                && (window.is_empty()
                    || z::inflateSetDictionary(&mut *self.stream, window.as_ptr(), window.len() as u32) == z::Z_OK)
        }
    }

    /// The last bytes put out, at most 32 KiB, as needed to restart here.
    pub(crate) fn window(&self, into: &mut Vec<u8>) {
        into.resize(WINDOW, 0);
        let mut length = 0;
        // SAFETY: the stream is initialised; `into` has room for the 32 KiB that zlib may write.
        unsafe { z::inflateGetDictionary(&*self.stream, into.as_mut_ptr(), &mut length) };
        into.truncate(length as usize);
    }

    /// Decodes from `input` into `output`. An error text means that the data are not valid deflate.
    pub(crate) fn inflate(&mut self, input: &[u8], output: &mut [u8], stop: Stop) -> Result<Progress, &'static str> {
        let input_length = input.len().min(u32::MAX as usize) as u32;
        let output_length = output.len().min(u32::MAX as usize) as u32;
        let stream = &mut *self.stream;
        stream.next_in = input.as_ptr();
        stream.avail_in = input_length;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = output_length;
        let flush = if stop == Stop::Block { z::Z_BLOCK } else { z::Z_NO_FLUSH };
        // SAFETY: both buffers are valid for the lengths given and outlive the call; the stream is initialised.
        let code = unsafe { z::inflate(stream, flush) };
        let progress = Progress {
            consumed: (input_length - stream.avail_in) as usize,
            produced: (output_length - stream.avail_out) as usize,
            ended: code == z::Z_STREAM_END,
            between_blocks: (stream.data_type & (128 | 64) == 128).then_some((stream.data_type & 63) as u32),
        };
        stream.next_in = std::ptr::null();
        stream.next_out = std::ptr::null_mut();
        match code {
            z::Z_OK | z::Z_STREAM_END | z::Z_BUF_ERROR => Ok(progress),
            z::Z_DATA_ERROR if !stream.msg.is_null() => {
                // SAFETY: zlib-rs sets `msg` to NUL-terminated static text.
                Err(unsafe { std::ffi::CStr::from_ptr(stream.msg) }.to_str().unwrap_or("invalid deflate data"))
            }
            _ => Err("invalid deflate data"),
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: the stream is initialised and released only here.
        unsafe { z::inflateEnd(&mut *self.stream) };
    }
}
