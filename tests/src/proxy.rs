//! A network between a client and a server that can be made bad.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// How many pieces may be on their way in one direction.
const PIECES: usize = 64;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// They pass.
    Passes,
    /// They pass, each so much later, and no more than so many a second in each direction.
    Slow {
        /// How long a byte is on its way.
        latency: Duration,
        /// How many pass.
        bytes_per_second: u32,
    },
    /// None get through, and nobody is told: connections stay, and what was sent comes later, if it ever does.
    Vanishes,
    /// What the client sends arrives, and what the server answers does not.
    AnswersVanish,
    /// Connections are reset, and so are new ones.
    Resets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Traffic {
    fn holds(self, direction: Direction) -> bool {
        match self {
            // What was held up must not pass on the way to a reset.
            Self::Vanishes | Self::Resets => true,
            Self::AnswersVanish => direction == Direction::ToClient,
            Self::Passes | Self::Slow { .. } => false,
        }
    }
}

/// A TCP proxy in this process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    traffic: watch::Sender<Traffic>,
    /// How often the connections of the time were lost.
    losses: watch::Sender<u64>,
}

/// What a connection goes by.
#[derive(Clone, Debug)]
struct Told {
    traffic: watch::Receiver<Traffic>,
    losses: watch::Receiver<u64>,
}

impl Proxy {
    /// Starts one in front of `server`, which need not be there yet, on a thread of its own.
    pub fn start(server: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (traffic, told) = watch::channel(Traffic::Passes);
        let (losses, lost) = watch::channel(0);
        let told = Told { traffic: told, losses: lost };
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, server, told));
        });
        Self { address, traffic, losses }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of the bytes, those of connections that there are included.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// Has the connections that there are carry nothing any more, for good, and nobody is told: the machine behind them has
    /// vanished. New ones reach the server.
    pub fn lose_connections(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }
}

async fn serve(listener: std::net::TcpListener, server: SocketAddr, mut told: Told) {
    let listener = TcpListener::from_std(listener).expect("a listener for tokio");
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let told = told.clone();
                tokio::spawn(async move {
                    // A connection that breaks is the business of both sides.
                    let _ = connection(client, server, told).await;
                });
            }
            // The proxy is gone.
            changed = told.traffic.changed() => if changed.is_err() { return },
        }
    }
}

async fn connection(client: TcpStream, server: SocketAddr, told: Told) -> io::Result<()> {
    // Closing such a connection resets it.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    let Told { traffic, mut losses } = told;
    let before = *losses.borrow_and_update();
    let both_ways = async {
        let mut passing = traffic.clone();
        let _ = passing.wait_for(|traffic| !traffic.holds(Direction::ToServer)).await;
        let server = TcpStream::connect(server).await?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            one_way(from_client, to_server, Direction::ToServer, traffic.clone()),
            one_way(from_server, to_client, Direction::ToClient, traffic.clone()),
        )?;
        io::Result::Ok(())
    };
    // Kept, and with it the sockets, when it is not looked at any more.
    let mut both_ways = std::pin::pin!(both_ways);
    let unless_lost = async {
        let lost = async { losses.wait_for(|losses| *losses != before).await.is_ok() };
        tokio::select! {
            biased;
            true = lost => std::future::pending().await,
            result = &mut both_ways => result,
        }
    };
    let mut resetting = traffic.clone();
    tokio::select! {
        // Or the proxy is gone.
        _ = resetting.wait_for(|traffic| *traffic == Traffic::Resets) => Ok(()),
        result = unless_lost => result,
    }
}

/// Carries bytes until either side closes, which is an error here, so that it ends the other direction too.
async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut told: watch::Receiver<Traffic>,
) -> io::Result<()> {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Bytes)>(PIECES);
    let reading = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = from.read(&mut buffer).await?;
            let piece = Bytes::copy_from_slice(&buffer[..count]);
            if count == 0 || pieces.send((Instant::now(), piece)).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let writing = async {
        while let Some((sent, piece)) = arriving.recv().await {
            let traffic = *told.borrow();
            if let Traffic::Slow { latency, bytes_per_second } = traffic {
                tokio::time::sleep_until(sent + latency).await;
                let seconds = piece.len() as f64 / f64::from(bytes_per_second);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            let _ = told.wait_for(|traffic| !traffic.holds(direction)).await;
            to.write_all(&piece).await?;
        }
        io::Result::Ok(())
    };
    tokio::try_join!(reading, writing)?;
    Err(io::ErrorKind::ConnectionReset.into())
}
