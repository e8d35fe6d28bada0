//! The Unix-socket door and its client: HTTP/1.1 with JSON on `control.sock`.
//!
//! Who may come in is decided by the kernel's word on the peer: the daemon's own user and root, and members of the
//! configured group. A connection without peer credentials is refused. The door has a thread and a runtime of its own,
//! so it answers while everything else is busy; what needs the database runs on the shared runtime.

pub mod client;
pub mod door;
