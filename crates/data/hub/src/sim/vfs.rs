//! SQLite's files on a [`SimDisk`]: a VFS registered with SQLite for as long as a [`SimVfs`] lives.
//!
//! What makes the unsafe code sound:
//! - `pAppData` points at a [`Registration`]'s disk, which outlives the registration; SQLite uses the VFS only for connections
//!   opened by its name, and the tests close every connection before they drop the [`SimVfs`].
//! - A `sqlite3_file` of ours is `szOsFile` bytes that SQLite allocated, large enough for a [`VfsFile`]. `open` writes both fields
//!   before it returns success; every other method runs between `open` and `close` and finds them there; `close` takes the box
//!   back exactly once. After a failed `open` `pMethods` is null, so SQLite calls nothing.
//! - SQLite calls the methods of one file from one thread at a time (the connection belongs to the writer thread).
//! - No method unwinds: the simulated disk reports failures as errors and does not panic.

#![allow(unsafe_code, reason = "a SQLite VFS is a table of C functions; the invariants are above")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::ffi;

use super::disk::{SimDisk, SimFile};
use crate::disk::{Disk, DiskFile};

/// A registered VFS; dropped, it is gone.
pub(super) struct SimVfs {
    registration: *mut Registration,
    name: String,
}

// SAFETY: the registration is only read through SQLite, which locks its list of VFSs; the disk inside is `Send + Sync`.
unsafe impl Send for SimVfs {}

struct Registration {
    vfs: ffi::sqlite3_vfs,
    _name: CString,
    disk: SimDisk,
}

#[repr(C)]
struct VfsFile {
    base: ffi::sqlite3_file,
    state: *mut OpenFile,
}

struct OpenFile {
    file: SimFile,
    disk: SimDisk,
    path: PathBuf,
    /// SQLite's own VFS syncs the folder with the first sync of a new journal or log, and so does this one.
    sync_folder: bool,
    delete_on_close: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(no_lock),
    xUnlock: Some(no_lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

impl SimVfs {
    /// Registers a VFS over `disk`.
    pub(super) fn register(disk: SimDisk) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("simulated-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let c_name = CString::new(name.clone()).unwrap();
        // SAFETY: a null name asks for the default VFS, which SQLite keeps for the life of the process.
        let default = unsafe { ffi::sqlite3_vfs_find(ptr::null()).as_ref() }.unwrap();
        let registration = Box::into_raw(Box::new(Registration {
            vfs: ffi::sqlite3_vfs {
                iVersion: 1,
                szOsFile: size_of::<VfsFile>() as c_int,
                mxPathname: 512,
                pNext: ptr::null_mut(),
                zName: c_name.as_ptr(),
                pAppData: ptr::null_mut(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_pathname),
                xDlOpen: None,
                xDlError: None,
                xDlSym: None,
                xDlClose: None,
                xRandomness: default.xRandomness,
                xSleep: default.xSleep,
                xCurrentTime: default.xCurrentTime,
                xGetLastError: default.xGetLastError,
                xCurrentTimeInt64: None,
                xSetSystemCall: None,
                xGetSystemCall: None,
                xNextSystemCall: None,
            },
            _name: c_name,
            disk,
        }));
        // SAFETY: the registration lives until `drop`, which unregisters it first.
        unsafe {
            (*registration).vfs.pAppData = ptr::addr_of_mut!((*registration).disk).cast();
            assert_eq!(ffi::sqlite3_vfs_register(ptr::addr_of_mut!((*registration).vfs), 0), ffi::SQLITE_OK);
        }
        Self { registration, name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for SimVfs {
    fn drop(&mut self) {
        // SAFETY: registered in `register`, unregistered once, and no connection uses it any more.
        unsafe {
            ffi::sqlite3_vfs_unregister(ptr::addr_of_mut!((*self.registration).vfs));
            drop(Box::from_raw(self.registration));
        }
    }
}

/// # Safety
/// `vfs` is one of ours.
unsafe fn disk_of<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a SimDisk {
    // SAFETY: see the module.
    unsafe { &*(*vfs).pAppData.cast::<SimDisk>() }
}

/// # Safety
/// `name` is a C string.
unsafe fn path_of(name: *const c_char) -> PathBuf {
    // SAFETY: by contract.
    let name = unsafe { CStr::from_ptr(name) };
    PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

/// # Safety
/// `file` is one of ours and open.
unsafe fn state_of<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: see the module.
    unsafe { &mut *(*file.cast::<VfsFile>()).state }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    static TEMPORARY: AtomicU64 = AtomicU64::new(0);
    // SAFETY: SQLite gives a VFS of ours, a C string or null, and memory for a file of ours.
    unsafe {
        (*file).pMethods = ptr::null();
        let disk = disk_of(vfs);
        let path = if name.is_null() {
            Path::new("/").join(format!("temporary-{}", TEMPORARY.fetch_add(1, Ordering::Relaxed)))
        } else {
            path_of(name)
        };
        let Ok((opened, made)) = disk.open_or_create(&path, flags & ffi::SQLITE_OPEN_CREATE != 0) else {
            return ffi::SQLITE_CANTOPEN;
        };
        let is_log = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
        let state = OpenFile {
            file: opened,
            disk: disk.clone(),
            path,
            sync_folder: made && is_log,
            delete_on_close: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
        };
        (*file.cast::<VfsFile>()).state = Box::into_raw(Box::new(state));
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite gives a VFS of ours and a C string.
    let (disk, path) = unsafe { (disk_of(vfs), path_of(name)) };
    match disk.remove(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(_) => return ffi::SQLITE_IOERR_DELETE,
    }
    match path.parent() {
        Some(folder) if sync_folder != 0 => code(disk.sync_folder(folder), ffi::SQLITE_IOERR_DELETE),
        _ => ffi::SQLITE_OK,
    }
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _flags: c_int, result: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a VFS of ours, a C string and a place for the answer.
    unsafe { *result = c_int::from(disk_of(vfs).exists(&path_of(name))) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(_: *mut ffi::sqlite3_vfs, name: *const c_char, size: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives a C string and `size` bytes for the answer.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > size as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

fn code(result: std::io::Result<()>, failure: c_int) -> c_int {
    if result.is_ok() { ffi::SQLITE_OK } else { failure }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the file is open, and this is the last call for it.
    let state = unsafe { Box::from_raw((*file.cast::<VfsFile>()).state) };
    if state.delete_on_close {
        let _already_dark = state.disk.remove(&state.path);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, size: c_int, offset: i64) -> c_int {
    // SAFETY: the file is open, and SQLite gives `size` bytes for the answer.
    let (state, buffer) = unsafe { (state_of(file), std::slice::from_raw_parts_mut(out.cast::<u8>(), size as usize)) };
    match state.file.read_at(offset.unsigned_abs(), buffer) {
        Ok(count) if count == buffer.len() => ffi::SQLITE_OK,
        Ok(count) => {
            buffer[count..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, size: c_int, offset: i64) -> c_int {
    // SAFETY: the file is open, and SQLite gives `size` bytes.
    let (state, bytes) = unsafe { (state_of(file), std::slice::from_raw_parts(bytes.cast::<u8>(), size as usize)) };
    match state.file.write_at(offset.unsigned_abs(), bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        result => code(result, ffi::SQLITE_IOERR_WRITE),
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state_of(file) };
    code(state.file.truncate(size.unsigned_abs()), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state_of(file) };
    let mut result = state.file.sync();
    if result.is_ok()
        && state.sync_folder
        && let Some(folder) = state.path.parent()
    {
        result = state.disk.sync_folder(folder);
        state.sync_folder = result.is_err();
    }
    code(result, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: the file is open, and SQLite gives a place for the answer.
    unsafe { *size = state_of(file).file.len().cast_signed() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn no_lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, result: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    512
}

unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    // What SQLite's own VFS says of disks: a write does not harm the bytes beside it.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
