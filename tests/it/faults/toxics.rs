//! The proxy does each of the eight things that it says, before a server that gives back what it is given.

use crate::support::proxy::Proxy;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use zaikoban::supervision::{OwnedTask, spawn_owned};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

async fn echo() -> (Proxy, OwnedTask<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = spawn_owned("echo", async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.push(spawn_owned("echo of one", async move {
                let (mut read, mut write) = stream.split();
                // The other side may go away at any time.
                let _gone = tokio::io::copy(&mut read, &mut write).await;
            }));
        }
    });
    (Proxy::before_tcp(address).await, serving)
}

async fn connected(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Says `bytes` and hears them again.
async fn there_and_back(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).await?;
    assert_eq!(back, bytes);
    Ok(())
}

#[tokio::test]
async fn latency_bandwidth_and_slices_are_slow_and_lose_nothing() {
    let (proxy, _echo) = echo().await;
    let mut stream = connected(&proxy).await;
    there_and_back(&mut stream, b"as it is").await.unwrap();
    for toxic in ["latency", "bandwidth", "slicer"] {
        match toxic {
            "latency" => proxy.latency(SHORT),
            "bandwidth" => proxy.bandwidth(Some(20_000)),
            _ => proxy.slice(Some((100, Duration::from_millis(10)))),
        }
        let began = Instant::now();
        timeout(LONG, there_and_back(&mut stream, &[7; 4_000]))
            .await
            .unwrap()
            .unwrap();
        assert!(began.elapsed() >= SHORT, "{toxic}: {:?}", began.elapsed());
        proxy.latency(Duration::ZERO);
        proxy.bandwidth(None);
        proxy.slice(None);
    }
}

#[tokio::test]
async fn timeout_swallows_and_hangs_up_on_nobody_and_hold_loses_nothing() {
    let (proxy, _echo) = echo().await;
    let mut stream = connected(&proxy).await;
    proxy.swallow(true);
    let heard = timeout(SHORT, there_and_back(&mut stream, b"lost")).await;
    assert!(heard.is_err(), "nothing comes and nobody hangs up: {heard:?}");
    proxy.swallow(false);
    there_and_back(&mut stream, b"heard").await.unwrap();
    proxy.hold(true);
    stream.write_all(b"later").await.unwrap();
    let mut back = [0; 5];
    assert!(timeout(SHORT, stream.read_exact(&mut back)).await.is_err());
    proxy.hold(false);
    timeout(LONG, stream.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&back, b"later");
}

#[tokio::test]
async fn limit_data_cuts_at_the_byte_in_either_direction() {
    let (proxy, _echo) = echo().await;
    for answers in [false, true] {
        let mut stream = connected(&proxy).await;
        if answers {
            proxy.cut_answers_after(Some(3));
        } else {
            proxy.cut_after(Some(3));
        }
        stream.write_all(b"abcdef").await.unwrap();
        let mut back = Vec::new();
        // Cut with bytes on their way, it may end with a RST.
        let _ended = timeout(LONG, stream.read_to_end(&mut back)).await.unwrap();
        assert!(b"abc".starts_with(&back[..]), "{back:?}");
        if answers {
            assert_eq!(back, b"abc");
        }
        proxy.cut_after(None);
        proxy.cut_answers_after(None);
    }
}

#[tokio::test]
async fn reset_peer_resets_slow_close_is_late_and_down_refuses() {
    let (proxy, _echo) = echo().await;
    let mut stream = connected(&proxy).await;
    there_and_back(&mut stream, b"alive").await.unwrap();
    proxy.reset();
    let error = timeout(LONG, stream.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    proxy.slow_close(SHORT);
    let mut stream = connected(&proxy).await;
    stream.shutdown().await.unwrap();
    let began = Instant::now();
    assert_eq!(timeout(LONG, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
    proxy.slow_close(Duration::ZERO);

    let mut stream = connected(&proxy).await;
    there_and_back(&mut stream, b"alive").await.unwrap();
    proxy.down(true);
    let ended = timeout(LONG, stream.read(&mut [0])).await.unwrap();
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.down(false);
    let mut stream = crate::support::wait::until("the proxy to be back", || async {
        TcpStream::connect(proxy.address()).await.ok()
    })
    .await;
    there_and_back(&mut stream, b"alive").await.unwrap();
}
