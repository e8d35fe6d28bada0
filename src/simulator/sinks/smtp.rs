//! As much of RFC 5321 as takes a mail. Nothing is sent on.

use super::{Shelf, SinkMood};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail larger than this is refused.
const MOST_BYTES: usize = 1 << 20;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, shelf: Shelf) {
    let mut talks = FuturesUnordered::new();
    loop {
        tokio::select! {
            came = listener.accept() => if let Ok((stream, _)) = came {
                talks.push(talk(stream, shelf.clone()));
            },
            // How a conversation ended is its client's affair.
            Some(_ended) = talks.next(), if !talks.is_empty() => {}
        }
    }
}

async fn talk(stream: TcpStream, shelf: Shelf) -> io::Result<()> {
    let mood = || shelf.lock().mail_mood;
    match mood() {
        SinkMood::HangsUp => return Ok(()),
        SinkMood::Silent => tokio::time::sleep(Duration::from_secs(30)).await,
        _ => {}
    }
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink.example ESMTP\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.trim().to_ascii_uppercase();
        let answer: &[u8] = match (verb.split([' ', ':']).next().unwrap_or_default(), mood()) {
            ("EHLO", _) => b"250-sink.example\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            ("HELO" | "NOOP" | "RSET", _) => b"250 ok\r\n",
            ("MAIL", SinkMood::Unavailable) => b"451 4.3.0 try again later\r\n",
            ("MAIL", SinkMood::Busy(_)) => b"421 4.7.0 too many messages\r\n",
            ("RCPT", SinkMood::Gone) => b"550 5.1.1 no such user\r\n",
            // The one address that this server never knows.
            ("RCPT", _) if verb.contains("<NOBODY@") => b"550 5.1.1 no such user\r\n",
            ("MAIL" | "RCPT", _) => b"250 ok\r\n",
            ("DATA", _) => {
                stream.write_all(b"354 go on\r\n").await?;
                let mail = body(&mut stream).await?;
                match mail {
                    Some(mail) => {
                        shelf.lock().mails.push(mail);
                        b"250 2.0.0 taken\r\n"
                    }
                    None => b"552 5.3.4 too large\r\n",
                }
            }
            ("QUIT", _) => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 5.5.1 not here\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// Everything up to the single dot, its doubled dots undone; nothing when it is too much.
async fn body(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            break;
        }
        let line = line.strip_prefix(b".").unwrap_or(&line);
        if mail.len() <= MOST_BYTES {
            mail.extend_from_slice(line);
        }
    }
    Ok((mail.len() <= MOST_BYTES).then(|| String::from_utf8_lossy(&mail).into_owned()))
}
