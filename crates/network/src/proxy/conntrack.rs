//! Forgetting UDP flows whose endpoint is gone.
//!
//! Connection tracking sends a known UDP flow to where its first datagram went. A client that keeps its port, as DNS
//! resolvers do, would go on talking to a deleted pod, or to nobody since before the service had endpoints.

use super::kernel::Fronts;
use super::plan::Front;
use crate::netlink::{Error, Message, Socket, attribute};
use crate::nftables::{Family, encode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const UDP: u8 = 17;

struct Flow {
    /// What names the flow in a delete.
    tuple: Vec<u8>,
    id: Option<Vec<u8>>,
    asked: SocketAddr,
    answers: SocketAddr,
}

/// Deletes the flows to a front that lead to none of its endpoints; says how many.
pub fn forget_stale(socket: &mut Socket, family: Family, fronts: &Fronts) -> Result<usize, Error> {
    if fronts.is_empty() {
        return Ok(0);
    }
    let mut stale = Vec::new();
    socket.dump(GET, encode::family_number(family), |message| {
        stale.extend(flow(message).filter(|flow| is_stale(flow, fronts)));
    })?;
    for flow in &stale {
        let deleted = socket.request(DELETE, encode::family_number(family), |w| {
            w.nest(ORIGINAL, |w| w.raw(&flow.tuple));
            if let Some(id) = &flow.id {
                w.put(ID, id);
            }
        });
        match deleted {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(stale.len())
}

fn is_stale(flow: &Flow, fronts: &Fronts) -> bool {
    let front = fronts.get(&Front::Address(flow.asked)).or_else(|| fronts.get(&Front::Port(flow.asked.port())));
    front.is_some_and(|endpoints| !endpoints.contains(&flow.answers))
}

fn flow(message: &Message<'_>) -> Option<Flow> {
    let body = message.payload.get(4..)?;
    let original = attribute(body, ORIGINAL)?;
    let (protocol, _, asked) = tuple(original)?;
    let (_, answers, _) = tuple(attribute(body, REPLY)?)?;
    let id = attribute(body, ID).map(<[u8]>::to_vec);
    (protocol == UDP).then(|| Flow { tuple: original.to_vec(), id, asked, answers })
}

/// Protocol, source and destination of one direction.
fn tuple(bytes: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ip, transport) = (attribute(bytes, 1)?, attribute(bytes, 2)?);
    let protocol = *attribute(transport, 1)?.first()?;
    let port = |kind| Some(u16::from_be_bytes(*attribute(transport, kind)?.first_chunk()?));
    let address = |v4, v6| match attribute(ip, v4) {
        Some(bytes) => Some(IpAddr::from(Ipv4Addr::from(*bytes.first_chunk::<4>()?))),
        None => Some(IpAddr::from(Ipv6Addr::from(*attribute(ip, v6)?.first_chunk::<16>()?))),
    };
    Some((
        protocol,
        SocketAddr::new(address(1, 3)?, port(2).unwrap_or(0)),
        SocketAddr::new(address(2, 4)?, port(3).unwrap_or(0)),
    ))
}
