//! `/api/...` is another name for every route, as clients of the original app have it: cut off before anything reads
//! the path, so that limits, routes and metrics know one path only.

use actix_web::{
    dev::ServiceRequest,
    http::uri::{PathAndQuery, Uri},
};

const PREFIX: &str = "/api/";

pub fn cut_off(req: &mut ServiceRequest) {
    if let Some(uri) = without_prefix(req.uri()) {
        req.match_info_mut().get_mut().update(&uri);
        req.head_mut().uri = uri;
    }
}

fn without_prefix(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str().strip_prefix(PREFIX)?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("/{path}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_cut_off_once_and_only_as_a_whole_segment() {
        for (uri, without) in [
            ("/api/videos?page=2", Some("/videos?page=2")),
            ("/api/", Some("/")),
            ("/api/api/videos", Some("/api/videos")),
            ("/api//login", Some("//login")),
            ("https://studio.example/api/login", Some("https://studio.example/login")),
            ("/api", None),
            ("/apis/videos", None),
            ("/%61pi/videos", None),
        ] {
            let found = without_prefix(&uri.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), without, "{uri}");
        }
    }
}
