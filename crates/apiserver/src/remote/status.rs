//! What the answer of an API server or webhook that failed says (client-go `rest.Request`, apimachinery
//! `NewGenericServerResponse`).

use kaji_api::Status;
use kaji_api::codec::parse_json;
use kaji_api::field::quoted;

/// More than this of a body that is no `Status` is not shown.
const SHOWN: usize = 2048;

/// The failure that an answer with a code other than 2xx reports.
pub(crate) fn from_answer(code: u16, body: &[u8]) -> Status {
    if let Ok(value) = parse_json(body)
        && value["kind"].str() == "Status"
        && value["status"].str() != "Success"
    {
        let sent = value["code"].as_i64().and_then(|c| u16::try_from(c).ok()).filter(|c| *c > 0);
        let mut status =
            Status::new(sent.unwrap_or(code), value["reason"].str().to_owned(), value["message"].str().to_owned());
        status.details = value["details"].clone();
        return status;
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let text = if text.is_empty() { "unknown".into() } else { text };
    let text = text.trim();
    let (reason, message) = match code {
        409 => ("AlreadyExists", "the server reported a conflict".to_owned()),
        404 => ("NotFound", "the server could not find the requested resource".to_owned()),
        400 => ("BadRequest", "the server rejected our request for an unknown reason".to_owned()),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_owned()),
        403 => ("Forbidden", text.to_owned()),
        406 => ("NotAcceptable", text.to_owned()),
        415 => ("UnsupportedMediaType", text.to_owned()),
        405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".to_owned()),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_owned()),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned(),
        ),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".to_owned(),
        ),
        code if code >= 500 => (
            "InternalError",
            format!("an error on the server ({}) has prevented the request from succeeding", quoted(text)),
        ),
        code => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    Status::new(code, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_failed() {
        let sent = br#"{"kind":"Status","status":"Failure","code":410,"reason":"Odd","message":"m"}"#;
        for (code, body, expected) in [
            (500, &sent[..], (410, "Odd", "m")),
            (404, b"page not found", (404, "NotFound", "the server could not find the requested resource")),
            (
                500,
                b"boom\n",
                (500, "InternalError", "an error on the server (\"boom\") has prevented the request from succeeding"),
            ),
            (403, b"no", (403, "Forbidden", "no")),
            (302, b"", (302, "", "the server responded with the status code 302 but did not return more information")),
        ] {
            let status = from_answer(code, body);
            assert_eq!((status.code, status.reason.as_ref(), status.message.as_str()), expected);
        }
    }
}
