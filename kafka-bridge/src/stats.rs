//! The few of librdkafka's statistics that the bridge looks at. Reading only these keeps a cluster with many
//! partitions, whose statistics are long, cheap.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

/// What librdkafka reports (`STATISTICS.md` in its sources).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Records in the producer's queues.
    pub msg_cnt: i64,
    /// Their bytes.
    pub msg_size: i64,
    /// The limit of `msg_cnt`.
    pub msg_max: i64,
    /// The limit of `msg_size`.
    pub msg_size_max: i64,
    /// Requests sent.
    pub tx: i64,
    /// Records sent, repetitions included.
    pub txmsgs: i64,
    /// By name; includes connections that are not brokers, such as the group coordinator.
    pub brokers: HashMap<String, Broker>,
    /// The idempotent producer.
    pub eos: Eos,
}

/// One broker connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Broker {
    /// `UP`, `DOWN`, `TRY_CONNECT`, …
    pub state: String,
    /// Requests repeated.
    pub txretries: i64,
    /// Round trips in the last interval.
    pub rtt: Window,
    /// Requests sent, by kind.
    pub req: Requests,
}

/// How many requests of a kind were sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Each has one batch of records.
    #[serde(rename = "Produce")]
    pub produce: i64,
}

/// A rolling window, in microseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Window {
    /// 99th percentile.
    pub p99: u64,
}

/// State of the idempotent producer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Eos {
    /// `Assigned` once it has its producer id.
    pub idemp_state: String,
}

impl Stats {
    /// Brokers that are connected and ready for requests.
    pub fn brokers_up(&self) -> usize {
        // `UPDATE` is a broker that is up and whose address is being changed.
        self.brokers.values().filter(|broker| matches!(broker.state.as_str(), "UP" | "UPDATE")).count()
    }

    /// Whether the idempotent producer has its id.
    pub fn producer_id_assigned(&self) -> bool {
        // `DrainBump`: it gets its next epoch by itself, as soon as what is in flight is answered. That happens with
        // each batch that is refused.
        matches!(self.eos.idemp_state.as_str(), "Assigned" | "DrainBump")
    }

    /// Requests repeated, over all brokers.
    pub fn retries(&self) -> i64 {
        self.brokers.values().map(|broker| broker.txretries).sum()
    }

    /// Batches of records sent, to all brokers.
    pub fn batches(&self) -> i64 {
        self.brokers.values().map(|broker| broker.req.produce).sum()
    }

    /// The 99th percentile of the round trips to the broker where it is highest.
    pub fn slowest_round_trip(&self) -> Duration {
        Duration::from_micros(self.brokers.values().map(|broker| broker.rtt.p99).max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_read_and_the_rest_passed_over() {
        let stats: Stats = serde_json::from_str(
            r#"{"name":"rdkafka#producer-1","msg_cnt":3,"msg_size":900,"msg_max":100000,"msg_size_max":268435456,"tx":12,"txmsgs":90,
               "brokers":{"a:1/1":{"state":"UP","txretries":2,"req":{"Produce":7,"Metadata":1},"rtt":{"p99":1500},"toppars":{"t-0":{"topic":"t"}}},
                          "b:1/2":{"state":"DOWN","txretries":1,"rtt":{"p99":9000}}},
               "topics":{"t":{}},"eos":{"idemp_state":"Assigned","producer_id":7}}"#,
        )
        .unwrap();
        assert_eq!(stats.brokers_up(), 1);
        assert!(stats.producer_id_assigned());
        assert_eq!((stats.msg_cnt, stats.retries()), (3, 3));
        assert_eq!((stats.txmsgs, stats.batches()), (90, 7));
        assert_eq!(stats.slowest_round_trip(), Duration::from_micros(9000));
    }

    #[test]
    fn nothing_is_up_before_the_first_connection() {
        let stats: Stats = serde_json::from_str(r#"{"brokers":{}}"#).unwrap();
        assert_eq!(stats.brokers_up(), 0);
        assert!(!stats.producer_id_assigned());
    }
}
