//! The listening side: who may come in, and a thread of its own.

use crate::api::{self, Caller};
use actix_web::dev::{Extensions, ServerHandle, Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::{App, HttpMessage, HttpResponse, HttpServer, web};
use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use nix::unistd::{Gid, Group, Uid, User};
use std::any::Any;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connections at once; more wait in the socket's backlog.
const MAX_CONNECTIONS: usize = 64;
/// The kernel's limit on a socket's path, less its final NUL.
pub const MAX_PATH_BYTES: usize = 107;

/// Where the door is and whom it lets in.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// The socket's path, at most 107 bytes.
    pub socket: PathBuf,
    /// Members of this group may come in, beside root and the daemon's own user.
    pub group: Option<String>,
}

/// Why the door cannot open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A path the kernel cannot take.
    #[error("the control socket's path has {got} bytes, at most 107 fit: `{}`", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        got: usize,
    },
    /// Another daemon listens there.
    #[error("another daemon answers on `{}`; stop it first or use another --socket", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket lies there.
    #[error("`{}` is there and is no socket; move it away", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The group of the settings does not exist.
    #[error("there is no group `{name}` to open the control socket to")]
    NoSuchGroup {
        /// Its name.
        name: String,
    },
    /// The system refused.
    #[error("failed to open the control socket `{}`", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

/// An open door; dropping it does not close it, [`Door::close`] does.
pub struct Door {
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
    /// Device and number of the socket's file.
    file: Option<(u64, u64)>,
}

impl Door {
    /// Opens the door on a thread of its own. A socket file whose daemon is dead is replaced.
    ///
    /// # Errors
    /// See [`DoorError`].
    pub fn open(settings: &DoorSettings, state: api::State) -> Result<Self, DoorError> {
        let admitted = Admitted::new(settings.group.as_deref())?;
        let listener = listen(&settings.socket, admitted.group)?;
        let path = settings.socket.clone();
        let failed = move |source| DoorError::Io {
            path: path.clone(),
            source,
        };
        let (opened, opening) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(listener, admitted, state, &opened))
            .map_err(&failed)?;
        let server = opening
            .recv()
            .map_err(|_ended| failed(std::io::Error::other("the door's thread ended")))?
            .map_err(&failed)?;
        Ok(Self {
            server,
            thread: Some(thread),
            file: file_of(&settings.socket),
            socket: settings.socket.clone(),
        })
    }

    /// Whether its thread still serves.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Whether its path still leads to it: the file may have been removed, by a cleaner of `/tmp` or by hand.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.file.is_some() && self.file == file_of(&self.socket)
    }

    /// Lets requests in flight end, then closes and removes the socket.
    pub async fn close(mut self) {
        let ended = self.server.stop(true);
        if tokio::time::timeout(Duration::from_secs(3), ended).await.is_err() {
            drop(self.server.stop(false));
        }
        if self.is_reachable() {
            drop(fs::remove_file(&self.socket));
        }
        drop(self.thread.take());
    }
}

/// Who may come in.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    group: Option<Gid>,
}

impl Admitted {
    fn new(group: Option<&str>) -> Result<Self, DoorError> {
        let Some(name) = group else {
            return Ok(Self { group: None });
        };
        let found = Group::from_name(name).ok().flatten();
        match found {
            Some(group) => Ok(Self {
                group: Some(group.gid),
            }),
            None => Err(DoorError::NoSuchGroup {
                name: name.to_owned(),
            }),
        }
    }

    /// The caller's name when they may come in.
    fn admit(self, uid: Uid, gid: Gid) -> Option<String> {
        let user = User::from_uid(uid).ok().flatten();
        let name = user.as_ref().map_or("?", |u| u.name.as_str());
        let member = self.group.is_some_and(|group| {
            gid == group
                || Group::from_gid(group)
                    .ok()
                    .flatten()
                    .is_some_and(|g| g.mem.iter().any(|m| m == name))
        });
        let allowed = uid.is_root() || uid == Uid::effective() || member;
        allowed.then(|| format!("uid {uid} ({name})"))
    }
}

fn file_of(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn listen(path: &Path, group: Option<Gid>) -> Result<UnixListener, DoorError> {
    let io = |source| DoorError::Io {
        path: path.to_path_buf(),
        source,
    };
    let bytes = path.as_os_str().len();
    if bytes > MAX_PATH_BYTES {
        return Err(DoorError::PathTooLong {
            path: path.to_path_buf(),
            got: bytes,
        });
    }
    if let Ok(meta) = fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(DoorError::NotASocket {
                path: path.to_path_buf(),
            });
        }
        if UnixStream::connect(path).is_ok() {
            return Err(DoorError::InUse {
                path: path.to_path_buf(),
            });
        }
        fs::remove_file(path).map_err(io)?;
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    // The peer's credentials decide; the mode only keeps strangers from filling the backlog.
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io)?;
    // What belongs to the group already is left alone: a sandboxed service may change no owner.
    let belongs = |group: Gid| fs::metadata(path).is_ok_and(|meta| meta.gid() == group.as_raw());
    if let Some(group) = group.filter(|group| !belongs(*group)) {
        nix::unistd::chown(path, None, Some(group)).map_err(|e| io(e.into()))?;
    }
    listener.set_nonblocking(true).map_err(io)?;
    Ok(listener)
}

fn serve(
    listener: UnixListener,
    admitted: Admitted,
    state: api::State,
    opened: &std::sync::mpsc::SyncSender<std::io::Result<ServerHandle>>,
) {
    let system = actix_web::rt::System::new();
    system.block_on(async move {
        let built = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(state.clone()))
                .wrap_fn(|request, service| match request.conn_data::<Caller>().cloned() {
                    Some(caller) => {
                        let order = (!request.method().is_safe()).then(|| {
                            (
                                caller.0.clone(),
                                request.method().clone(),
                                request.path().to_owned(),
                            )
                        });
                        request.extensions_mut().insert(caller);
                        Either::Left(service.call(request).inspect(move |answer| noted(order, answer)))
                    }
                    None => Either::Right(ready(Ok(request.into_response(stranger())))),
                })
                .configure(api::configure)
        })
        .on_connect(move |connection, data| greet(connection, data, admitted))
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(Duration::from_secs(30))
        .shutdown_timeout(2)
        .disable_signals()
        .listen_uds(listener);
        match built {
            Ok(server) => {
                let server = server.run();
                drop(opened.send(Ok(server.handle())));
                if let Err(error) = server.await {
                    tracing::error!(error = %error, "The control door closed by itself");
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    });
}

/// Writes down who gave which order, and what it was answered. Whoever only looks changes nothing.
fn noted<B>(order: Option<(String, Method, String)>, answer: &Result<ServiceResponse<B>, actix_web::Error>) {
    let Some((by, method, path)) = order else { return };
    let status = match answer {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    tracing::info!(
        channel = "security",
        by, %method, path, status = status.as_u16(),
        "{by} gave the order `{method} {path}`, which was answered {status}"
    );
}

/// What somebody hears whom the kernel's word does not admit.
fn stranger() -> HttpResponse {
    HttpResponse::Forbidden().json(serde_json::json!({ "error": {
        "code": "stranger",
        "message": "only root, the daemon's own user and members of `daemon.socket_group` may ask here",
        "problems": [],
        "hint": "ask as the daemon's user, or join its group",
    }}))
}

/// Notes who is at the other end. Without this note every handler refuses.
fn greet(connection: &dyn Any, data: &mut Extensions, admitted: Admitted) {
    let peer = connection
        .downcast_ref::<actix_web::rt::net::UnixStream>()
        .and_then(|stream| stream.peer_cred().ok());
    let Some(peer) = peer else { return };
    let (uid, gid) = (Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid()));
    match admitted.admit(uid, gid) {
        Some(name) => {
            data.insert(Caller(name));
        }
        None => tracing::warn!(
            channel = "security",
            peer.uid = peer.uid(),
            peer.gid = peer.gid(),
            "Refused a stranger at the control socket"
        ),
    }
}
