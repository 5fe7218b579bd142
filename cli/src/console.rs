// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running machine's console for other programs: a socket that shows the log's lines and takes what is typed on COM1.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a program may take to read a line before it is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket, until it is dropped.
#[derive(Debug)]
pub struct Console {
    path: PathBuf,
    listeners: Arc<Mutex<Vec<UnixStream>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked has left a list of streams, or the machine's input.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Console {
    /// Makes the socket. What comes from it goes to `input`.
    ///
    /// # Errors
    /// The operating system's; [`io::ErrorKind::AddrInUse`] if another machine has it.
    pub fn open(path: &Path, input: impl Write + Send + 'static) -> io::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // What a machine that was killed has left.
        let _ = std::fs::remove_file(path);
        let socket = UnixListener::bind(path)?;
        let listeners = Arc::new(Mutex::new(Vec::new()));
        let (known, input) = (listeners.clone(), Arc::new(Mutex::new(input)));
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                if let Ok(reader) = stream.try_clone()
                    && stream.set_write_timeout(Some(PATIENCE)).is_ok()
                {
                    locked(&known).push(stream);
                    let input = input.clone();
                    thread::spawn(move || pass(reader, &input));
                }
            }
        });
        Ok(Self { path: path.to_owned(), listeners })
    }

    /// Shows a line to whoever listens.
    pub fn show(&self, line: &str) {
        let line = format!("{line}\n");
        locked(&self.listeners).retain_mut(|stream| stream.write_all(line.as_bytes()).is_ok());
    }
}

/// Passes on what a program types, until it goes.
fn pass(mut from: UnixStream, to: &Mutex<impl Write>) {
    let mut bytes = [0; 256];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut to = locked(to);
        if to.write_all(&bytes[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc;

    /// Where tests have their sockets.
    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("postern-console-{}-{name}", std::process::id()))
    }

    struct Typed(mpsc::Sender<Vec<u8>>);

    impl Write for Typed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_typed_arrives_and_lines_are_shown() {
        let path = path("both");
        let (sender, typed) = mpsc::channel();
        let console = Console::open(&path, Typed(sender)).unwrap();
        console.show("nobody listens yet");
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut gone = UnixStream::connect(&path).unwrap();
        gone.write_all(b"g").unwrap();
        assert_eq!(typed.recv().unwrap(), b"g");
        drop(gone);
        // What it types says that it is known.
        stream.write_all(b"vms\r").unwrap();
        assert_eq!(typed.recv().unwrap(), b"vms\r");
        for line in ["[web] one", "[web] two"] {
            console.show(line);
        }
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "[web] one");
        assert_eq!(lines.next().unwrap().unwrap(), "[web] two");
        let taken = Console::open(&path, Typed(mpsc::channel().0));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(console);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_machine_left_is_no_obstacle() {
        let path = path("left");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Console::open(&path, io::sink()).unwrap());
    }
}
