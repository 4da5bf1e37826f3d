//! Photos on their way in: multipart forms and bare bodies, within the limits, and never slower than somebody who means it.
//!
//! Whoever reads a photo holds one of a few permits, so that the memory for photos is bounded however many come at once;
//! the others wait before their first byte is read.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request, multipart::Field},
    http::{StatusCode, header},
};
use futures_util::StreamExt as _;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::serve::{
    problem::Problem,
    state::{App, Shared},
};

/// Longest wait for the next bytes of a request.
const NEXT_BYTES: Duration = Duration::from_secs(30);
/// Bytes of a request that is too large that are still read.
const HEARD_OUT: usize = 256 << 20;
/// Longest wait for a permit.
const TURN: Duration = Duration::from_secs(300);
/// Longest value of a form's field that is no photo, in bytes.
const MAX_VALUE: usize = 1024;
/// Fields of a form that are no photo.
const MAX_VALUES: usize = 16;
/// What photos are called in forms.
const PHOTO_FIELDS: [&str; 3] = ["photo", "image", "file"];

/// One photo, as a form's file or as the whole body; and the form's other values.
pub(super) struct Upload {
    pub(super) bytes: Bytes,
    pub(super) values: BTreeMap<String, String>,
    _permit: OwnedSemaphorePermit,
}

/// A form with photos, read one by one.
pub(super) struct Form {
    multipart: Multipart,
    max_bytes: usize,
    _permit: OwnedSemaphorePermit,
}

/// A part of a form.
pub(super) enum Part {
    /// A photo, with the name its file had.
    Photo {
        file: String,
        /// `None` if it has more bytes than allowed.
        bytes: Option<Bytes>,
    },
    /// Another value.
    Value { name: String, text: String },
}

impl FromRequest<Shared> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Form, Problem> {
        let request = within_limit(request, app.limits.request_bytes()).await?;
        let permit = permit(app).await?;
        let multipart = Multipart::from_request(request, app).await.map_err(|why| {
            Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("send photos as multipart/form-data: {}", why.body_text()),
            )
        })?;
        Ok(Form {
            multipart,
            max_bytes: app.limits.photo_bytes,
            _permit: permit,
        })
    }
}

impl Form {
    /// The next part.
    ///
    /// # Errors
    /// 400 if the form is broken off or misformed, 408 if it stalls, 413 if it is too long.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, Problem> {
        let next = timeout(NEXT_BYTES, self.multipart.next_field())
            .await
            .map_err(|_| stalled())?;
        let Some(mut field) = next.map_err(broken)? else {
            return Ok(None);
        };
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(str::to_owned);
        if file.is_some() || PHOTO_FIELDS.contains(&name.as_str()) {
            let file = file.unwrap_or_default();
            let bytes = read(&mut field, self.max_bytes).await?;
            return Ok(Some(Part::Photo { file, bytes }));
        }
        let text = read(&mut field, MAX_VALUE).await?;
        let text =
            text.ok_or_else(|| Problem::too_large(format!("the value of {name:?} is too long")))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Some(Part::Value { name, text }))
    }
}

/// A field's bytes; `None` if there are more than `most`, which are then read past.
async fn read(field: &mut Field<'_>, most: usize) -> Result<Option<Bytes>, Problem> {
    let mut bytes = Vec::new();
    let mut is_too_large = false;
    loop {
        let next = timeout(NEXT_BYTES, field.chunk())
            .await
            .map_err(|_| stalled())?;
        match next.map_err(broken)? {
            Some(_) if is_too_large => {}
            Some(chunk) if bytes.len() + chunk.len() > most => {
                is_too_large = true;
                bytes = Vec::new();
            }
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None if is_too_large => return Ok(None),
            None => return Ok(Some(bytes.into())),
        }
    }
}

impl FromRequest<Shared> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Upload, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_ascii_lowercase();
        if kind.starts_with("multipart/form-data") {
            return from_form(Form::from_request(request, app).await?, app).await;
        }
        if !kind.starts_with("image/") && !kind.starts_with("application/octet-stream") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the photo as multipart/form-data in a field named photo, or as the body with an image/ content type",
            ));
        }
        let most = app.limits.photo_bytes;
        let request = within_limit(request, most).await?;
        let permit = permit(app).await?;
        // A photo of the largest size gets a tenth of a megabyte a second.
        let whole = NEXT_BYTES + Duration::from_secs(most as u64 / 100_000);
        let body = timeout(whole, axum::body::to_bytes(request.into_body(), most));
        let bytes = body.await.map_err(|_| stalled())?.map_err(|error| {
            // axum tells the two apart by words only; the connection that broke off hears neither.
            Problem::too_large(format!(
                "the photo has more than {most} bytes, or broke off: {error}"
            ))
        })?;
        Ok(Upload {
            bytes,
            values: BTreeMap::new(),
            _permit: permit,
        })
    }
}

async fn from_form(mut form: Form, app: &App) -> Result<Upload, Problem> {
    let mut photo = None;
    let mut values = BTreeMap::new();
    while let Some(part) = form.next().await? {
        match part {
            Part::Photo { bytes: None, .. } => {
                let most = app.limits.photo_bytes;
                return Err(Problem::too_large(format!(
                    "the photo has more than {most} bytes"
                )));
            }
            Part::Photo { .. } if photo.is_some() => {
                return Err(Problem::bad_request("one photo at a time"));
            }
            Part::Photo { bytes, .. } => photo = bytes,
            Part::Value { .. } if values.len() >= MAX_VALUES => {
                return Err(Problem::bad_request("too many values in the form"));
            }
            Part::Value { name, text } => {
                values.insert(name, text);
            }
        }
    }
    let bytes =
        photo.ok_or_else(|| Problem::bad_request("the form has no photo: name its field photo"))?;
    Ok(Upload {
        bytes,
        values,
        _permit: form._permit,
    })
}

/// Refuses by the length a request gives itself. What comes is read for a while and forgotten: many clients look for an answer
/// only when they have sent everything, and a connection closed before tells them nothing.
async fn within_limit(request: Request, most: usize) -> Result<Request, Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length.filter(|length| *length > most as u64) else {
        return Ok(request);
    };
    let mut body = request.into_body().into_data_stream();
    let hear_out = async {
        let mut heard = 0;
        while let Some(Ok(bytes)) = body.next().await {
            heard += bytes.len();
            if heard > HEARD_OUT {
                return;
            }
        }
    };
    // Whoever takes longer is answered as well.
    let _ = timeout(NEXT_BYTES, hear_out).await;
    Err(Problem::too_large(format!(
        "the request has {length} bytes; at most {most} are taken"
    )))
}

async fn permit(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = timeout(TURN, app.uploads.clone().acquire_owned()).await;
    let turn = turn.map_err(|_| Problem::busy("too many uploads at once: try again later"))?;
    turn.map_err(|_| Problem::busy("the server is stopping"))
}

fn stalled() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the request stalled")
}

fn broken(error: axum::extract::multipart::MultipartError) -> Problem {
    Problem::new(
        error.status(),
        format!("the form cannot be read: {}", error.body_text()),
    )
}
