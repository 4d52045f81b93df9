//! Answers about the cluster, from the index alone.

use crate::index::{Endpoint, Entry, Index, Port, ServiceKey};
use crate::question::{self, Asked};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Version of the specification of cluster DNS that the records follow.
const SCHEMA_VERSION: &str = "1.1.0";

/// The cluster's domain.
pub(crate) struct Zone {
    domain: Name,
    labels: usize,
    ttl: u32,
    /// Addresses of this server.
    own: Vec<IpAddr>,
}

/// The records for a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Zone {
    pub(crate) fn new(domain: &Name, ttl: u32, own: Vec<IpAddr>) -> Self {
        Self { domain: domain.to_lowercase(), labels: usize::from(domain.num_labels()), ttl, own }
    }

    /// The answer, or none if the question is not about the cluster.
    pub(crate) fn answer(&self, index: &Index, name: &Name, kind: RecordType) -> Option<Answer> {
        if self.domain.zone_of(name) {
            return Some(Lookup { zone: self, index, name, kind }.forward());
        }
        // Reverse names that are not ours may well be the site's.
        let address = name.parse_arpa_name().ok().filter(|net| net.prefix_len() == net.max_prefix_len())?.addr();
        let records = self.reverse(index, name, &address);
        (!records.is_empty()).then(|| match kind {
            RecordType::PTR => found(records, Vec::new()),
            _ => self.negative(ResponseCode::NoError),
        })
    }

    fn reverse(&self, index: &Index, name: &Name, address: &IpAddr) -> Vec<Record> {
        let services = index.services_at(address).filter(|key| index.service(key).is_some());
        let services = services.filter_map(|key| self.service_name(key));
        let endpoints = index.endpoints_at(address);
        let endpoints = endpoints.iter().filter_map(|(key, label)| self.endpoint_name(key, label));
        let names: BTreeSet<Name> = services.chain(endpoints).collect();
        names.into_iter().map(|target| self.record(name, RData::PTR(PTR(target)))).collect()
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }

    fn below(&self, labels: &[&str]) -> Option<Name> {
        let relative = Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?;
        relative.append_domain(&self.domain).ok()
    }

    fn service_name(&self, (namespace, name): &ServiceKey) -> Option<Name> {
        self.below(&[name, namespace, "svc"])
    }

    fn endpoint_name(&self, (namespace, name): &ServiceKey, label: &str) -> Option<Name> {
        self.below(&[label, name, namespace, "svc"])
    }

    fn start_of_authority(&self) -> Record {
        let (server, mail) = (self.below(&["ns", "dns"]), self.below(&["hostmaster"]));
        let (server, mail) = (server.unwrap_or_else(Name::root), mail.unwrap_or_else(Name::root));
        // Nobody transfers the zone, so its serial says nothing.
        let data = SOA::new(server, mail, 1, 7200, 1800, 86400, self.ttl);
        self.record(&self.domain, RData::SOA(data))
    }

    /// "Nothing", which resolvers may remember for as long as an answer.
    fn negative(&self, code: ResponseCode) -> Answer {
        let authorities = vec![self.start_of_authority()];
        Answer { code, answers: Vec::new(), authorities, additionals: Vec::new() }
    }
}

fn found(answers: Vec<Record>, additionals: Vec<Record>) -> Answer {
    Answer { code: ResponseCode::NoError, answers, authorities: Vec::new(), additionals }
}

struct Lookup<'a> {
    zone: &'a Zone,
    index: &'a Index,
    name: &'a Name,
    kind: RecordType,
}

impl Lookup<'_> {
    fn forward(&self) -> Answer {
        let lower = self.name.to_lowercase();
        let count = usize::from(lower.num_labels()).saturating_sub(self.zone.labels);
        let Ok(labels) = lower.iter().take(count).map(std::str::from_utf8).collect::<Result<Vec<_>, _>>() else {
            return self.missing();
        };
        match question::parse(&labels) {
            Asked::Apex => self.apex(),
            Asked::Version => self.of_kind(RecordType::TXT, RData::TXT(TXT::new(vec![SCHEMA_VERSION.into()]))),
            Asked::Server => self.addresses(self.zone.own.iter()),
            Asked::Between => self.nothing(),
            Asked::Namespace(namespace) => if_exists(self.index.has_namespace(&namespace), self.nothing(), self),
            Asked::Pod(ip, namespace) => {
                if_exists(self.index.has_namespace(&namespace), self.addresses([ip].iter()), self)
            }
            Asked::Service(name, namespace) => self.service((namespace, name), |_| true),
            Asked::Port(port, protocol, name, namespace) => {
                self.service((namespace, name), |p| p.name == port && p.protocol == protocol)
            }
            Asked::Endpoint(label, name, namespace) => self.endpoint((namespace, name), &label),
            Asked::Nothing => self.missing(),
        }
    }

    fn missing(&self) -> Answer {
        self.zone.negative(ResponseCode::NXDomain)
    }

    /// The name exists, but has no record of the kind.
    fn nothing(&self) -> Answer {
        self.zone.negative(ResponseCode::NoError)
    }

    fn apex(&self) -> Answer {
        match self.kind {
            RecordType::SOA => found(vec![self.zone.start_of_authority()], Vec::new()),
            RecordType::NS => match self.zone.below(&["ns", "dns"]) {
                Some(server) => {
                    let glue = self.zone.own.iter().map(|ip| self.zone.record(&server, address(ip))).collect();
                    found(vec![self.zone.record(self.name, RData::NS(NS(server)))], glue)
                }
                None => self.nothing(),
            },
            _ => self.nothing(),
        }
    }

    fn of_kind(&self, kind: RecordType, data: RData) -> Answer {
        if self.kind == kind { found(vec![self.zone.record(self.name, data)], Vec::new()) } else { self.nothing() }
    }

    fn addresses<'i>(&self, all: impl Iterator<Item = &'i IpAddr>) -> Answer {
        let distinct: BTreeSet<&IpAddr> = all.filter(|ip| kind_of(ip) == self.kind).collect();
        let records: Vec<Record> = distinct.into_iter().map(|ip| self.zone.record(self.name, address(ip))).collect();
        if records.is_empty() { self.nothing() } else { found(records, Vec::new()) }
    }

    fn service(&self, key: ServiceKey, wanted: impl Fn(&Port) -> bool) -> Answer {
        let Some(entry) = self.index.service(&key) else { return self.missing() };
        if let Some(target) = &entry.external_name {
            return self.external(target);
        }
        if entry.headless {
            return self.headless(&key, entry, wanted);
        }
        let ports: Vec<&Port> = entry.ports.iter().filter(|port| wanted(port)).collect();
        match (self.kind, self.zone.service_name(&key)) {
            _ if ports.is_empty() && !entry.ports.is_empty() => self.missing(),
            (RecordType::SRV, Some(target)) => {
                let targets = ports.iter().map(|port| (port.number, target.clone(), entry.addresses.clone()));
                self.servers(targets.collect())
            }
            _ => self.addresses(entry.addresses.iter()),
        }
    }

    /// Services are never aliases of names that could be forwarded on their own: the caller follows the alias.
    fn external(&self, target: &str) -> Answer {
        let Ok(mut target) = Name::from_ascii(target) else { return self.nothing() };
        target.set_fqdn(true);
        match self.kind {
            RecordType::A | RecordType::AAAA | RecordType::CNAME => {
                found(vec![self.zone.record(self.name, RData::CNAME(CNAME(target)))], Vec::new())
            }
            _ => self.nothing(),
        }
    }

    fn headless(&self, key: &ServiceKey, entry: &Entry, wanted: impl Fn(&Port) -> bool) -> Answer {
        let serves = |endpoint: &&Endpoint| endpoint.ports.is_empty() || endpoint.ports.iter().any(&wanted);
        let endpoints: Vec<&Endpoint> = self.index.endpoints(key, entry).filter(serves).collect();
        if endpoints.is_empty() {
            return self.missing();
        }
        if self.kind != RecordType::SRV {
            return self.addresses(endpoints.iter().map(|endpoint| &endpoint.address));
        }
        let mut targets = Vec::new();
        for endpoint in endpoints {
            let Some(name) = self.zone.endpoint_name(key, &endpoint.label) else { continue };
            let ports = endpoint.ports.iter().filter(|port| wanted(port));
            targets.extend(ports.map(|port| (port.number, name.clone(), vec![endpoint.address])));
        }
        self.servers(targets)
    }

    fn endpoint(&self, key: ServiceKey, label: &str) -> Answer {
        let Some(entry) = self.index.service(&key) else { return self.missing() };
        let named: Vec<&Endpoint> = self.index.endpoints(&key, entry).filter(|e| e.label == label).collect();
        if named.is_empty() {
            return self.missing();
        }
        if self.kind != RecordType::SRV {
            return self.addresses(named.iter().map(|endpoint| &endpoint.address));
        }
        let of_endpoint = |e: &&Endpoint| {
            let address = e.address;
            e.ports.iter().map(move |port| (port.number, self.name.clone(), vec![address])).collect::<Vec<_>>()
        };
        self.servers(named.iter().flat_map(of_endpoint).collect())
    }

    /// SRV records of equal weight, with the addresses of their targets.
    fn servers(&self, targets: Vec<(u16, Name, Vec<IpAddr>)>) -> Answer {
        let distinct: BTreeSet<(u16, &Name)> = targets.iter().map(|(port, name, _)| (*port, name)).collect();
        if distinct.is_empty() {
            return self.nothing();
        }
        let weight = u16::try_from(100 / distinct.len()).unwrap_or(0).max(1);
        let record = |(port, target): (u16, &Name)| {
            self.zone.record(self.name, RData::SRV(SRV::new(0, weight, port, target.clone())))
        };
        let glue: BTreeSet<(&Name, &IpAddr)> =
            targets.iter().flat_map(|(_, name, ips)| ips.iter().map(move |ip| (name, ip))).collect();
        let glue = glue.into_iter().map(|(name, ip)| self.zone.record(name, address(ip)));
        found(distinct.into_iter().map(record).collect(), glue.collect())
    }
}

fn if_exists(exists: bool, answer: Answer, lookup: &Lookup<'_>) -> Answer {
    if exists { answer } else { lookup.missing() }
}

fn kind_of(ip: &IpAddr) -> RecordType {
    match ip {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    }
}

fn address(ip: &IpAddr) -> RData {
    match ip {
        IpAddr::V4(v4) => RData::A(A(*v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
    }
}
