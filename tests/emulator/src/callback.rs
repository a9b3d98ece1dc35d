//! What the host calls in the VM.

/// A callback and what it is told, as the ABI has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the ABI's specification")]
pub enum Callback {
    ContextCreate { context: u32, parent: u32 },
    VmStart { context: u32 },
    Configure { context: u32, size: u32 },
    RequestHeaders { context: u32, count: u32, end_of_stream: bool },
    RequestBody { context: u32, size: u32, end_of_stream: bool },
    RequestTrailers { context: u32, count: u32 },
    ResponseHeaders { context: u32, count: u32, end_of_stream: bool },
    ResponseBody { context: u32, size: u32, end_of_stream: bool },
    Log { context: u32 },
    Done { context: u32 },
    Delete { context: u32 },
    QueueReady { context: u32, queue: u32 },
    HttpCallResponse { context: u32, token: u32, headers: u32, size: u32 },
}

impl Callback {
    /// The export of the module.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContextCreate { .. } => "proxy_on_context_create",
            Self::VmStart { .. } => "proxy_on_vm_start",
            Self::Configure { .. } => "proxy_on_configure",
            Self::RequestHeaders { .. } => "proxy_on_request_headers",
            Self::RequestBody { .. } => "proxy_on_request_body",
            Self::RequestTrailers { .. } => "proxy_on_request_trailers",
            Self::ResponseHeaders { .. } => "proxy_on_response_headers",
            Self::ResponseBody { .. } => "proxy_on_response_body",
            Self::Log { .. } => "proxy_on_log",
            Self::Done { .. } => "proxy_on_done",
            Self::Delete { .. } => "proxy_on_delete",
            Self::QueueReady { .. } => "proxy_on_queue_ready",
            Self::HttpCallResponse { .. } => "proxy_on_http_call_response",
        }
    }

    /// Its arguments.
    pub fn arguments(self) -> Vec<u32> {
        match self {
            Self::ContextCreate { context, parent } => vec![context, parent],
            Self::VmStart { context } => vec![context, 0],
            Self::Configure { context, size } => vec![context, size],
            Self::RequestHeaders { context, count, end_of_stream }
            | Self::ResponseHeaders { context, count, end_of_stream } => {
                vec![context, count, u32::from(end_of_stream)]
            }
            Self::RequestBody { context, size, end_of_stream }
            | Self::ResponseBody { context, size, end_of_stream } => {
                vec![context, size, u32::from(end_of_stream)]
            }
            Self::RequestTrailers { context, count } => vec![context, count],
            Self::Log { context } | Self::Done { context } | Self::Delete { context } => vec![context],
            Self::QueueReady { context, queue } => vec![context, queue],
            Self::HttpCallResponse { context, token, headers, size } => {
                vec![context, token, headers, size, 0]
            }
        }
    }

    /// The context that is called back.
    pub fn context(self) -> u32 {
        self.arguments()[0]
    }
}
