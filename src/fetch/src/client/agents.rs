//! From the configuration to HTTP clients: addresses, certificate authorities, proxy and limits of each server.

use super::Client;
use crate::error::Error;
use crate::host::{Host, certificates};
use crate::login::Logins;
use crate::reach::{Own, Reach};
use crate::resolve::Names;
use crate::transport::{Arrived, CONNECT, IDLE, Tcp, Watch};
use casemate_fetch_wire::{Endpoint, Step};
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
use ureq::{Agent, Proxy};

/// Maximum size of a response header, in bytes.
const MAX_HEADER: usize = 64 * 1024;
/// Buffer sizes in bytes.
const INPUT: usize = 128 * 1024;
const OUTPUT: usize = 32 * 1024;

/// Creates clients. Clients of one server with different logins share its connections and certificate authorities.
#[derive(Debug)]
pub struct Clients<'a> {
    host: &'a Host,
    names: Arc<Names>,
    watch: &'a Arc<Watch>,
    /// The agent of each server, by its configuration without the login.
    agents: Vec<(Endpoint, Agent)>,
}

impl<'a> Clients<'a> {
    /// No clients yet.
    pub fn new(host: &'a Host, watch: &'a Arc<Watch>) -> Self {
        Self { host, names: Arc::new(host.names.clone()), watch, agents: Vec::new() }
    }

    /// Creates the client of a server.
    pub fn client(&mut self, mut endpoint: Endpoint) -> Result<Client, Error> {
        let reached = Endpoint { login: None, prefix: String::new(), ..endpoint.clone() };
        endpoint.authorities = Vec::new();
        let existing = self.agents.iter().find(|(other, _)| *other == reached);
        let agent = match existing {
            Some((_, agent)) => agent.clone(),
            None => {
                let agent = self.agent(&reached)?;
                self.agents.push((reached, agent.clone()));
                agent
            }
        };
        Ok(Client { endpoint, agent, watch: Arc::clone(self.watch), logins: Logins::default() })
    }

    fn agent(&self, endpoint: &Endpoint) -> Result<Agent, Error> {
        let proxy = match &endpoint.proxy {
            Some(proxy) => {
                let bad = |_| Error::stop(Step::Read, "the proxy is not a valid URL");
                Some(Proxy::new(proxy).map_err(bad)?)
            }
            None => None,
        };
        let own = certificates(&endpoint.authorities);
        if own.is_empty() && !endpoint.authorities.is_empty() {
            return Err(Error::stop(Step::Read, format!("the file `ca` of {} has no certificate", endpoint.host)));
        }
        let roots: Vec<Certificate<'static>> = self.host.authorities.iter().cloned().chain(own).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_response_header_size(MAX_HEADER)
            .input_buffer_size(INPUT)
            .output_buffer_size(OUTPUT)
            .max_idle_connections(2)
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(IDLE))
            .timeout_recv_response(Some(IDLE))
            .proxy(proxy.clone())
            .tls_config(tls)
            .build();
        let own = Own::new(endpoint.host.clone());
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(Tcp(Arc::clone(self.watch), Arc::clone(&own)))
                .chain(RustlsConnector::default())
                .chain(Arrived(Arc::clone(self.watch), Arc::clone(&own)));
        let proxy = proxy.map(|proxy| proxy.host().to_owned());
        let reach = Reach::new(Arc::clone(&self.names), own, proxy);
        Ok(Agent::with_parts(config, connector, reach))
    }
}
