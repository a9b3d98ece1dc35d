//! The single broker that most rows share. They take turns, and each leaves it as it was.

use std::sync::OnceLock;

use wicketgate_tests::kafka::{Kafka, Setup};
use wicketgate_tests::proxy::Traffic;

use crate::scene::blocking;

/// The broker, running and with nothing in its way. The caller has its [`crate::scene::turn`].
pub(crate) fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    blocking(|| {
        let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
        let kafka = KAFKA.get_or_init(|| {
            let setup = Setup::brokers(1).proxied().property("authorizer.class.name", authorizer);
            setup.property("allow.everyone.if.no.acl.found", "true").start()
        });
        // A row that failed may have left it in any state.
        kafka.proxy().set(Traffic::Passes);
        if kafka.node().process().exit_status().is_some() {
            kafka.node().start();
        }
        kafka.node().thaw();
        kafka.wait_for_brokers(1);
        kafka
    })
}
