//! What the public listener answers, and how its metrics name it.

/// One address of the public listener, or what is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Welcome,
    Native,
    Raw,
    Messages,
    Topic,
    Topics,
    TopicByPath,
    MessagesByPath,
    /// Any other address, where nothing is. A path that a peer wrote is no label.
    Other,
}

impl Route {
    pub(crate) const COUNT: usize = Self::Other as usize + 1;

    /// The path as the router knows it.
    pub(crate) const fn template(self) -> &'static str {
        match self {
            Self::Welcome => "/",
            Self::Native => "/ws",
            Self::Raw => "/ws/{*topic}",
            Self::Messages => "/v1/messages",
            Self::Topic => "/v1/topic",
            Self::Topics => "/v1/topics",
            Self::TopicByPath => "/v1/topics/{topic}",
            Self::MessagesByPath => "/v1/topics/{topic}/messages",
            Self::Other => "other",
        }
    }

    /// The one that the router takes for this path.
    pub(crate) fn of(path: &str) -> Self {
        let fixed = [Self::Welcome, Self::Native, Self::Messages, Self::Topic, Self::Topics];
        if let Some(topic) = path.strip_prefix("/v1/topics/") {
            match topic.split_once('/') {
                None if !topic.is_empty() => Self::TopicByPath,
                Some((_, "messages")) => Self::MessagesByPath,
                _ => Self::Other,
            }
        } else if path.strip_prefix("/ws/").is_some_and(|topic| !topic.is_empty()) {
            Self::Raw
        } else {
            fixed.into_iter().find(|route| route.template() == path).unwrap_or(Self::Other)
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::any;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_path_is_named_as_the_router_takes_it() {
        let all = [
            Route::Welcome,
            Route::Native,
            Route::Raw,
            Route::Messages,
            Route::Topic,
            Route::Topics,
            Route::TopicByPath,
            Route::MessagesByPath,
        ];
        assert_eq!(all.len() + 1, Route::COUNT);
        let add = |router: Router, route: Route| {
            router.route(route.template(), any(move || async move { route.template() }))
        };
        let router = all.into_iter().fold(Router::new(), add).fallback(|| async { Route::Other.template() });
        for path in [
            "/",
            "//",
            "/ws",
            "/ws/",
            "/ws/a",
            "/ws/a/b",
            "/ws//",
            "/ws/a%2Fb",
            "/wsx",
            "/v1",
            "/v1/",
            "/v1/messages",
            "/v1/messages/",
            "/v1/topic",
            "/v1/topic/a",
            "/v1/topics",
            "/v1/topics/",
            "/v1/topics/a",
            "/v1/topics/a/",
            "/v1/topics//",
            "/v1/topics/a/messages",
            "/v1/topics//messages",
            "/v1/topics/a/messages/",
            "/v1/topics/a/b",
            "/v1/topics/a/b/messages",
            "/v1/topics/messages",
            "/livez",
            "*",
        ] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = router.clone().oneshot(request).await.expect("an answer");
            let taken = answer.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(Route::of(path).template().as_bytes(), taken, "{path}");
        }
    }
}
