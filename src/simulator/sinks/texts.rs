//! Twilio's interface for text messages, of version 2010-04-01.
//!
//! Numbers behave as those that Twilio publishes for trying things out: `+15005550001` is none, `+15005550009` takes no
//! text messages.

use super::{Shelf, SinkMood, refusal};
use actix_web::web::{self, Data, Form, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

/// The account.
pub(super) const SID: &str = "AC0000000000000000000000000000a11e";
/// What lets it in.
pub(super) const TOKEN: &str = "sesame-of-the-texts";
/// `AC…a11e:sesame-of-the-texts`, as the header has it.
const BASIC: &str = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwYTExZTpzZXNhbWUtb2YtdGhlLXRleHRz";

/// A text message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texted {
    /// The reader's number.
    pub to: String,
    /// The sender's number, or its service.
    pub sender: String,
    /// What it says.
    pub body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    to: Option<String>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    body: Option<String>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route(
            "/2010-04-01/Accounts/{sid}/Messages.json",
            web::post().to(message),
        )
        .route("/2010-04-01/Accounts/{sid}.json", web::get().to(account));
}

async fn message(
    shelf: Data<Shelf>,
    request: HttpRequest,
    sid: Path<String>,
    form: Form<Asked>,
) -> HttpResponse {
    if let Some(refusal) = turned_away(&shelf, &request, &sid).await {
        return refusal;
    }
    let asked = form.into_inner();
    let Some(to) = asked.to.filter(|to| !to.is_empty()) else {
        return error(400, 21604, "A 'To' phone number is required.");
    };
    let Some(sender) = asked.from.or(asked.messaging_service_sid) else {
        return error(400, 21603, "A 'From' phone number is required.");
    };
    let Some(body) = asked.body.filter(|body| !body.is_empty()) else {
        return error(400, 21602, "Message body is required.");
    };
    // The limit of the interface.
    if body.chars().count() > 1_600 {
        return error(
            400,
            21617,
            "The concatenated message body exceeds the 1600 character limit.",
        );
    }
    match to.as_str() {
        "+15005550001" => {
            return error(
                400,
                21211,
                &format!("The 'To' number {to} is not a valid phone number."),
            );
        }
        // A code that is on no list of ours.
        "+15005550002" => {
            return error(400, 21699, &format!("The 'To' number {to} cannot be had."));
        }
        "+15005550009" => {
            return error(
                400,
                21614,
                &format!("'To' number {to} is not a valid mobile number."),
            );
        }
        _ => {}
    }
    let mut shelf = shelf.lock();
    let number = shelf.texts.len();
    shelf.texts.push(Texted {
        to: to.clone(),
        sender,
        body: body.clone(),
    });
    HttpResponse::Created().json(json!({
        "account_sid": SID,
        "api_version": "2010-04-01",
        "body": body,
        "direction": "outbound-api",
        "error_code": null,
        "error_message": null,
        "num_segments": "1",
        "sid": format!("SM{number:032x}"),
        "status": "queued",
        "to": to,
    }))
}

async fn account(shelf: Data<Shelf>, request: HttpRequest, sid: Path<String>) -> HttpResponse {
    if let Some(refusal) = turned_away(&shelf, &request, &sid).await {
        return refusal;
    }
    HttpResponse::Ok().json(json!({ "sid": SID, "status": "active", "type": "Full" }))
}

async fn turned_away(shelf: &Shelf, request: &HttpRequest, sid: &str) -> Option<HttpResponse> {
    let mood = shelf.lock().text_mood;
    match mood {
        SinkMood::Well => {}
        SinkMood::Busy(seconds) => {
            let mut busy = error(429, 20429, "Too Many Requests");
            if let Ok(seconds) = seconds.to_string().parse() {
                busy.headers_mut()
                    .insert(actix_web::http::header::RETRY_AFTER, seconds);
            }
            return Some(busy);
        }
        SinkMood::Gone => return Some(error(401, 20003, "Authenticate")),
        other => return refusal(other).await,
    }
    let word = request.headers().get("authorization");
    if word.is_none_or(|word| word.as_bytes() != BASIC.as_bytes()) {
        return Some(error(401, 20003, "Authenticate"));
    }
    (sid != SID).then(|| error(404, 20404, "The requested resource was not found"))
}

fn error(status: u16, code: u32, message: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status)
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).json(json!({
        "code": code,
        "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status.as_u16(),
    }))
}
