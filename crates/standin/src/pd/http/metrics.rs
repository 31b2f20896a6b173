//! Which of PD's metrics are served? Those that say whether the member works; nothing of the suite
//! reads figures of the cluster here.

use http::StatusCode;

use crate::pd::server::Server;
use crate::port::{Answer, typed};

/// The Prometheus text of this member.
pub(super) async fn answer(server: &Server) -> Answer {
    let status = server.etcd.identity_and_leader().await;
    let has_leader = u8::from(status.is_ok_and(|(_, leader)| leader != 0));
    let text = format!(
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {}\n\
         # TYPE etcd_server_has_leader gauge\netcd_server_has_leader {has_leader}\n",
        server.started
    );
    typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}
