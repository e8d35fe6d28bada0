//! A Redis of a test's own, and a relay before it that can be slow, lie, or lead elsewhere.

use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use zaikoban::supervision::{OwnedTask, spawn_owned};

use super::wait::until;

/// A server on a Unix socket, which saves nothing unless it is told to. Killed with this.
pub struct TestRedis {
    folder: TempDir,
    more: Vec<String>,
    server: Option<Child>,
}

impl TestRedis {
    /// Prepares one; nothing listens yet.
    pub fn absent(more: &[&str]) -> Self {
        Self {
            folder: tempfile::Builder::new().prefix("zkr").tempdir().unwrap(),
            more: more.iter().map(|arg| (*arg).to_owned()).collect(),
            server: None,
        }
    }

    pub async fn start() -> Self {
        let mut own = Self::absent(&[]);
        own.again().await;
        own
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        url(&self.socket())
    }

    /// Starts it, with what its folder holds.
    pub async fn again(&mut self) {
        let mut program = Command::new("redis-server");
        program
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args(["--enable-debug-command", "yes"])
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(program.spawn().expect("redis-server is installed: scripts/setup"));
        let socket = self.socket();
        until("redis-server", || async {
            (told(&socket, &["PING"]).await? == "PONG").then_some(())
        })
        .await;
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Runs a command and answers what `redis-cli` prints.
    pub async fn cli(&self, command: &[&str]) -> String {
        told(&self.socket(), command).await.unwrap()
    }

    /// The entries of all sorted sets whose name holds `part`.
    pub async fn entries(&self, part: &str) -> usize {
        let mut all = 0;
        for key in self.cli(&["KEYS", &format!("*{part}*")]).await.lines() {
            all += self.cli(&["ZCARD", key]).await.parse::<usize>().unwrap_or(0);
        }
        all
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn url(socket: &Path) -> String {
    format!("redis+unix://{}", socket.display())
}

async fn told(socket: &Path, command: &[&str]) -> Option<String> {
    let mut cli = tokio::process::Command::new("redis-cli");
    let answer = cli.arg("-s").arg(socket).args(command).output().await.unwrap();
    answer
        .status
        .success()
        .then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

/// What the relay does with an answer.
#[derive(Clone, Debug, Default)]
enum Answers {
    #[default]
    Real,
    /// Each later by so long.
    Late(Duration),
    /// These bytes instead, for each question.
    Instead(Vec<u8>),
    /// These bytes, and then bytes without an end.
    Endless(Vec<u8>),
}

/// Stands in front of a Redis.
#[derive(Clone)]
pub struct Relay {
    socket: PathBuf,
    to: Arc<Mutex<PathBuf>>,
    answers: watch::Sender<Answers>,
    cut: watch::Sender<u64>,
    /// Bytes that an endless answer got rid of.
    pub poured: Arc<AtomicUsize>,
    _folder: Arc<TempDir>,
    _accepting: Arc<OwnedTask<()>>,
}

impl Relay {
    pub fn before(server: &TestRedis) -> Self {
        let folder = tempfile::Builder::new().prefix("zkl").tempdir().unwrap();
        let socket = folder.path().join("relay.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let to = Arc::new(Mutex::new(server.socket()));
        let (answers, cut) = (watch::Sender::new(Answers::default()), watch::Sender::new(0));
        let poured = Arc::new(AtomicUsize::new(0));
        let (leads, told, ends, pours) = (Arc::clone(&to), answers.clone(), cut.clone(), Arc::clone(&poured));
        let accepting = spawn_owned("relay", async move {
            let mut relays = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let to = leads.lock().clone();
                let (told, mut end, pours) = (told.subscribe(), ends.subscribe(), Arc::clone(&pours));
                relays.push(spawn_owned("relayed", async move {
                    let Ok(server) = UnixStream::connect(to).await else {
                        return;
                    };
                    tokio::select! {
                        () = relayed(client, server, told, pours) => {}
                        _ = end.changed() => {}
                    }
                }));
            }
        });
        Self {
            socket,
            to,
            answers,
            cut,
            poured,
            _folder: Arc::new(folder),
            _accepting: Arc::new(accepting),
        }
    }

    pub fn url(&self) -> String {
        url(&self.socket)
    }

    /// Leads to another server from now on; the old one goes on answering whoever reaches it directly.
    pub fn lead_to(&self, server: &TestRedis) {
        *self.to.lock() = server.socket();
        self.cut.send_modify(|n| *n += 1);
    }

    pub fn real(&self) {
        self.answers.send_replace(Answers::Real);
    }

    pub fn late(&self, by: Duration) {
        self.answers.send_replace(Answers::Late(by));
    }

    pub fn instead(&self, bytes: &[u8]) {
        self.answers.send_replace(Answers::Instead(bytes.to_vec()));
    }

    pub fn endless(&self, bytes: &[u8]) {
        self.answers.send_replace(Answers::Endless(bytes.to_vec()));
    }
}

async fn relayed(
    mut client: UnixStream,
    mut server: UnixStream,
    answers: watch::Receiver<Answers>,
    poured: Arc<AtomicUsize>,
) {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(n @ 1..) = read else { return };
                let how = answers.borrow().clone();
                let sent = match how {
                    Answers::Real | Answers::Late(_) => to_server.write_all(&asked[..n]).await,
                    Answers::Instead(bytes) => to_client.write_all(&bytes).await,
                    Answers::Endless(bytes) => {
                        let mut sent = to_client.write_all(&bytes).await;
                        let chunk = [b'x'; 4096];
                        while sent.is_ok() {
                            sent = to_client.write_all(&chunk).await;
                            poured.fetch_add(chunk.len(), Ordering::SeqCst);
                        }
                        sent
                    }
                };
                if sent.is_err() { return }
            }
            read = from_server.read(&mut answered) => {
                let Ok(n @ 1..) = read else { return };
                let how = answers.borrow().clone();
                if let Answers::Late(by) = how {
                    tokio::time::sleep(by).await;
                }
                if to_client.write_all(&answered[..n]).await.is_err() { return }
            }
        }
    }
}
