//! A central bank of the test's own: one small file, which says what the test has it say.

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zaikoban::supervision::{OwnedTask, spawn_owned};

/// See the module.
pub struct Bank {
    /// Where it listens.
    pub address: SocketAddr,
    file: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: OwnedTask<()>,
}

impl Bank {
    /// Listens on a port of this machine; its file is empty.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (file, asked) = (
            Arc::<Mutex<String>>::default(),
            Arc::<Mutex<Vec<String>>>::default(),
        );
        let (says, heard) = (Arc::clone(&file), Arc::clone(&asked));
        let serving = spawn_owned("bank", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                let line = String::from_utf8_lossy(&head)
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                heard.lock().push(line);
                let body = says.lock().clone();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            address,
            file,
            asked,
            _serving: serving,
        }
    }

    /// From now on its file is this.
    pub fn says(&self, text: &str) {
        *self.file.lock() = text.to_owned();
    }

    /// From now on a dollar costs so many yen, on `day`.
    pub fn quotes(&self, day: chrono::NaiveDate, yen_per_dollar: &str) {
        self.says(&format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><gesmes:Envelope \
             xmlns:gesmes=\"http://www.gesmes.org/xml/2002-08-01\" \
             xmlns=\"http://www.ecb.int/vocabulary/2002-08-01/eurofxref\"><gesmes:subject>Rates</gesmes:subject><Cube>\
             <Cube time='{day}'><Cube currency='USD' rate='1.00'/><Cube currency='JPY' rate='{yen_per_dollar}'/>\
             <Cube currency='GBP' rate='0.80'/><Cube currency='AUD' rate='1.60'/><Cube currency='CAD' rate='1.50'/>\
             <Cube currency='THB' rate='37.5'/></Cube></Cube></gesmes:Envelope>"
        ));
    }

    /// The first line of each request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}
