//! The sinks are as strict as what they stand for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use zaikoban::simulator::Sinks;

#[test]
fn the_mail_sink_speaks_smtp_and_undoes_the_dots() {
    let sinks = Sinks::start().unwrap();
    let mut stream = TcpStream::connect(sinks.smtp()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut says = |what: &str| {
        stream.write_all(what.as_bytes()).unwrap();
        loop {
            let line = lines.next().unwrap().unwrap();
            if line.as_bytes()[3] == b' ' {
                return line[..3].to_owned();
            }
        }
    };
    assert_eq!(says(""), "220");
    for (said, code) in [
        ("EHLO me\r\n", "250"),
        ("MAIL FROM:<a@b>\r\n", "250"),
        ("RCPT TO:<c@d>\r\n", "250"),
        ("NONSENSE\r\n", "502"),
        ("DATA\r\n", "354"),
        ("Subject: x\r\n\r\n..dot\r\n.\r\n", "250"),
        ("QUIT\r\n", "221"),
    ] {
        assert_eq!(says(said), code, "{said}");
    }
    assert_eq!(sinks.mails(), ["Subject: x\r\n\r\n.dot\r\n"]);
}
