/* Every setting of the server, one row each: kind, field of struct server_config, flag name,
 * default, key of the configuration file (NULL: same as the flag, "-": none), standing, meaning.
 * Included several times by config.h and config.c; so no include guard.
 * Facts (names, types, defaults, keys) are those of etcd 3.7.
 *
 * Standing: LIVE has its effect. INERT is accepted and needs nothing here: it tunes a part that
 * this server does not have (a B+tree file, Go's runtime). LATER is refused by name as soon as it
 * is set to anything but its default, because its feature does not exist yet. */

/* member */
X(STR, name, "name", "default", NULL, LIVE, "member name")
X(STR, data_dir, "data-dir", "", NULL, LIVE, "data directory; empty means NAME.etcd")
X(STR, wal_dir, "wal-dir", "", NULL, LIVE, "directory of the write-ahead log, if apart")
X(UINT, snapshot_count, "snapshot-count", "10000", NULL, LIVE, "applied entries between snapshots")
X(UINT, heartbeat_interval_ms, "heartbeat-interval", "100", NULL, LIVE, "heartbeat in ms")
X(UINT, election_timeout_ms, "election-timeout", "1000", NULL, LIVE, "election timeout in ms")
X(BOOL, initial_election_tick_advance, "initial-election-tick-advance", "true", NULL, LIVE,
  "first election comes sooner after a start")
X(URLS, listen_peer_urls, "listen-peer-urls", "http://localhost:2380", NULL, LIVE,
  "where to listen for members")
X(URLS, listen_client_urls, "listen-client-urls", "http://localhost:2379", NULL, LIVE,
  "where to listen for clients")
X(URLS, listen_client_http_urls, "listen-client-http-urls", "", NULL, LATER,
  "where to listen for clients, HTTP only")
X(URLS, listen_metrics_urls, "listen-metrics-urls", "", NULL, LIVE,
  "where else to serve metrics and health")
X(UINT, max_snapshots, "max-snapshots", "5", NULL, INERT, "snapshot files kept")
X(UINT, max_wals, "max-wals", "5", NULL, INERT, "log files kept")
X(INT, quota_backend_bytes, "quota-backend-bytes", "0", NULL, LIVE, "store quota; 0 is 2 GiB")
X(STR, freelist_type, "backend-bbolt-freelist-type", "", NULL, INERT,
  "freelist of etcd's store file")
X(DURATION, backend_batch_interval_ns, "backend-batch-interval", "0s", NULL, INERT,
  "longest time before the store commits")
X(INT, backend_batch_limit, "backend-batch-limit", "0", NULL, INERT,
  "operations before the store commits")
X(UINT, max_txn_ops, "max-txn-ops", "128", NULL, LIVE, "operations in a transaction")
X(UINT, max_request_bytes, "max-request-bytes", "1572864", NULL, LIVE, "largest client request")
X(UINT, max_concurrent_streams, "max-concurrent-streams", "4294967295", NULL, LIVE,
  "streams of one client connection")
X(DURATION, keepalive_min_ns, "grpc-keepalive-min-time", "5s", NULL, LIVE,
  "least gap of client pings")
X(DURATION, keepalive_interval_ns, "grpc-keepalive-interval", "2h0m0s", NULL, LIVE,
  "gap of the server's pings; 0 is off")
X(DURATION, keepalive_timeout_ns, "grpc-keepalive-timeout", "20s", NULL, LIVE,
  "wait for the answer to a ping")
X(BOOL, socket_reuse_port, "socket-reuse-port", "false", "socket-options.reuse-port", LIVE,
  "SO_REUSEPORT on listeners")
X(BOOL, socket_reuse_address, "socket-reuse-address", "false", "socket-options.reuse-address", LIVE,
  "SO_REUSEADDR on listeners")
X(DURATION, raft_read_timeout_ns, "raft-read-timeout", "5s", "-", LIVE,
  "read timeout of member connections")
X(DURATION, raft_write_timeout_ns, "raft-write-timeout", "5s", "-", LIVE,
  "write timeout of member connections")
X(UINT, max_learners, "max-learners", "1", NULL, LIVE, "learners allowed")
X(UINT, snapshot_catchup_entries, "snapshot-catchup-entries", "5000", NULL, LIVE,
  "log entries kept for slow members")
X(BOOL, memory_mlock, "memory-mlock", "false", NULL, LATER, "lock the store in memory")

/* cluster */
X(URLS, advertise_peer_urls, "initial-advertise-peer-urls", "http://localhost:2380", NULL, LIVE,
  "member URLs told to the cluster")
X(STR, initial_cluster, "initial-cluster", "", NULL, LIVE, "NAME=URL list of the first members")
X(STR, initial_cluster_state, "initial-cluster-state", "new", NULL, LIVE, "new or existing")
X(STR, initial_cluster_token, "initial-cluster-token", "etcd-cluster", NULL, LIVE,
  "mixed into the ids")
X(URLS, advertise_client_urls, "advertise-client-urls", "http://localhost:2379", NULL, LIVE,
  "client URLs told to the cluster")
X(STR, discovery_srv, "discovery-srv", "", NULL, LATER, "DNS domain to bootstrap from")
X(STR, discovery_srv_name, "discovery-srv-name", "", NULL, LATER, "suffix of the DNS service names")
X(STRS, discovery_endpoints, "discovery-endpoints", "", "discovery-config.client.endpoints", LATER,
  "discovery service")
X(STR, discovery_token, "discovery-token", "", "discovery-config.token", LATER,
  "token at the discovery service")
X(DURATION, discovery_dial_timeout_ns, "discovery-dial-timeout", "2s",
  "discovery-config.client.dial-timeout", LATER, "discovery service")
X(DURATION, discovery_request_timeout_ns, "discovery-request-timeout", "5s",
  "discovery-config.client.request-timeout", LATER, "discovery service")
X(DURATION, discovery_keepalive_time_ns, "discovery-keepalive-time", "2s",
  "discovery-config.client.keepalive-time", LATER, "discovery service")
X(DURATION, discovery_keepalive_timeout_ns, "discovery-keepalive-timeout", "6s",
  "discovery-config.client.keepalive-timeout", LATER, "discovery service")
X(BOOL, discovery_insecure_transport, "discovery-insecure-transport", "true",
  "discovery-config.client.secure.insecure-transport", LATER, "discovery service")
X(BOOL, discovery_skip_verify, "discovery-insecure-skip-tls-verify", "false",
  "discovery-config.client.secure.insecure-skip-tls-verify", LATER, "discovery service")
X(STR, discovery_cert, "discovery-cert", "", "discovery-config.client.secure.cert", LATER,
  "discovery service")
X(STR, discovery_key, "discovery-key", "", "discovery-config.client.secure.key", LATER,
  "discovery service")
X(STR, discovery_cacert, "discovery-cacert", "", "discovery-config.client.secure.cacert", LATER,
  "discovery service")
X(STR, discovery_user, "discovery-user", "", "discovery-config.client.auth.username", LATER,
  "discovery service")
X(STR, discovery_password, "discovery-password", "", "discovery-config.client.auth.password", LATER,
  "discovery service")
X(STR, discovery_fallback, "discovery-fallback", "exit", "-", INERT,
  "what follows a failed discovery: exit")
X(BOOL, strict_reconfig_check, "strict-reconfig-check", "true", NULL, LIVE,
  "refuse changes of members that cost the quorum")
X(BOOL, pre_vote, "pre-vote", "true", NULL, LIVE, "ask before an election")
X(STR, auto_compaction_retention, "auto-compaction-retention", "0", NULL, LIVE,
  "history kept by automatic compaction")
X(STR, auto_compaction_mode, "auto-compaction-mode", "periodic", NULL, LIVE, "periodic or revision")
X(STR, v2_deprecation, "v2-deprecation", "write-only", NULL, INERT,
  "stage of the old API; has no effect")
X(STR, cluster_version_max, "cluster-version-max", "", NULL, LIVE,
  "highest version this member raises the cluster to, such as 3.6; empty: its own")
X(BOOL, enable_v2, "enable-v2", "false", NULL, LIVE, "serve the keys API of etcd 2")

/* security */
X(STR, cert_file, "cert-file", "", "client-transport-security.cert-file", LATER,
  "certificate for clients")
X(STR, key_file, "key-file", "", "client-transport-security.key-file", LATER, "its key")
X(STR, client_cert_file, "client-cert-file", "", "client-transport-security.client-cert-file",
  LATER, "certificate in the client's role")
X(STR, client_key_file, "client-key-file", "", "client-transport-security.client-key-file", LATER,
  "its key")
X(BOOL, client_cert_auth, "client-cert-auth", "false", "client-transport-security.client-cert-auth",
  LATER, "clients must show a certificate")
X(STR, client_crl_file, "client-crl-file", "", "-", LATER, "revoked client certificates")
X(STRS, client_allowed_hostname, "client-cert-allowed-hostname", "",
  "client-transport-security.allowed-hostname", LATER, "host names allowed in client certificates")
X(STR, trusted_ca_file, "trusted-ca-file", "", "client-transport-security.trusted-ca-file", LATER,
  "CA of the clients")
X(BOOL, auto_tls, "auto-tls", "false", "client-transport-security.auto-tls", LATER,
  "certificate of our own making for clients")
X(STR, peer_cert_file, "peer-cert-file", "", "peer-transport-security.cert-file", LATER,
  "certificate for members")
X(STR, peer_key_file, "peer-key-file", "", "peer-transport-security.key-file", LATER, "its key")
X(STR, peer_client_cert_file, "peer-client-cert-file", "",
  "peer-transport-security.client-cert-file", LATER, "certificate in the client's role")
X(STR, peer_client_key_file, "peer-client-key-file", "", "peer-transport-security.client-key-file",
  LATER, "its key")
X(BOOL, peer_client_cert_auth, "peer-client-cert-auth", "false",
  "peer-transport-security.client-cert-auth", LATER, "members must show a certificate")
X(STR, peer_trusted_ca_file, "peer-trusted-ca-file", "", "peer-transport-security.trusted-ca-file",
  LATER, "CA of the members")
X(STRS, peer_allowed_cn, "peer-cert-allowed-cn", "", "peer-transport-security.allowed-cn", LATER,
  "names allowed in members' certificates")
X(STRS, peer_allowed_hostname, "peer-cert-allowed-hostname", "",
  "peer-transport-security.allowed-hostname", LATER, "host names allowed in members' certificates")
X(BOOL, peer_skip_san, "peer-skip-client-san-verification", "false",
  "peer-transport-security.skip-client-san-verification", LATER, "do not check members' host names")
X(BOOL, peer_auto_tls, "peer-auto-tls", "false", "peer-transport-security.auto-tls", LATER,
  "certificate of our own making for members")
X(UINT, self_signed_validity_years, "self-signed-cert-validity", "1", NULL, LATER,
  "years that our own certificates last")
X(STR, peer_crl_file, "peer-crl-file", "", "-", LATER, "revoked members' certificates")
X(STRS, cipher_suites, "cipher-suites", "", NULL, LATER, "TLS cipher suites")
X(STRS, cors, "cors", "*", NULL, LIVE, "origins allowed to use the JSON gateway")
X(STRS, host_whitelist, "host-whitelist", "*", NULL, LIVE, "host names accepted on plain HTTP")
X(STR, tls_min_version, "tls-min-version", "TLS1.2", NULL, INERT, "TLS1.2 or TLS1.3")
X(STR, tls_max_version, "tls-max-version", "", NULL, INERT, "TLS1.2, TLS1.3 or empty")
X(STR, auth_token, "auth-token", "simple", NULL, LATER, "kind of authentication token")
X(UINT, bcrypt_cost, "bcrypt-cost", "10", NULL, LATER, "cost of password hashes")
X(UINT, auth_token_ttl_s, "auth-token-ttl", "300", NULL, LATER, "life of simple tokens in s")

/* watching over itself */
X(BOOL, enable_pprof, "enable-pprof", "false", NULL, LATER, "runtime profiles over HTTP")
X(STR, metrics, "metrics", "basic", NULL, LIVE, "basic or extensive")
X(BOOL, distributed_tracing, "enable-distributed-tracing", "false", NULL, LATER,
  "OpenTelemetry traces")
X(STR, tracing_address, "distributed-tracing-address", "localhost:4317", NULL, LATER,
  "where traces go")
X(STR, tracing_service, "distributed-tracing-service-name", "etcd", NULL, LATER,
  "service name in traces")
X(STR, tracing_instance, "distributed-tracing-instance-id", "", NULL, LATER, "instance in traces")
X(INT, tracing_rate, "distributed-tracing-sampling-rate", "0", NULL, LATER,
  "traces sampled of a million")
X(STR, logger, "logger", "zap", NULL, LIVE, "kind of logger; zap")
X(STRS, log_outputs, "log-outputs", "default", NULL, LIVE, "default, stdout, stderr or file paths")
X(STR, log_level, "log-level", "info", NULL, LIVE, "debug, info, warn, error, panic, fatal")
X(STR, log_format, "log-format", "json", NULL, LIVE, "json or console")
X(BOOL, log_rotation, "enable-log-rotation", "false", NULL, LATER, "rotate the log file")
X(STR, log_rotation_json, "log-rotation-config-json",
  "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
  NULL, LATER, "how to rotate it")
X(DURATION, warning_apply_ns, "warning-apply-duration", "100ms", NULL, LIVE,
  "an apply that takes longer is logged")
X(DURATION, warning_unary_ns, "warning-unary-request-duration", "300ms", NULL, LIVE,
  "a call that takes longer is logged")

/* the rest */
X(STR, config_file, "config-file", "", "-", LIVE,
  "YAML or JSON file; other flags and the environment are then ignored")
X(BOOL, version, "version", "false", "-", LIVE, "print the version and exit")
X(BOOL, force_new_cluster, "force-new-cluster", "false", NULL, LIVE, "restart as a cluster of one")
X(BOOL, unsafe_no_fsync, "unsafe-no-fsync", "false", NULL, LATER, "never sync; loses data")
X(BOOL, enable_gateway, "enable-grpc-gateway", "true", NULL, LIVE, "serve the JSON gateway")
X(BOOL, old_initial_corrupt_check, "experimental-initial-corrupt-check", "false", NULL, LIVE,
  "older name of the gate InitialCorruptCheck")
X(DURATION, old_corrupt_check_ns, "experimental-corrupt-check-time", "0s", NULL, LIVE,
  "older name of corrupt-check-time")
X(DURATION, corrupt_check_ns, "corrupt-check-time", "0s", NULL, LIVE,
  "how often to compare members; 0 is off; not set, every 10 minutes from cluster version 3.6 on")
X(DURATION, compact_hash_check_ns, "compact-hash-check-time", "1m0s", NULL, LIVE,
  "how often to compare hashes of compactions")
X(INT, compaction_batch_limit, "compaction-batch-limit", "0", NULL, INERT,
  "revisions in a step of compaction")
X(DURATION, compaction_sleep_ns, "compaction-sleep-interval", "0s", NULL, INERT,
  "pause between steps of compaction")
X(DURATION, watch_progress_ns, "watch-progress-notify-interval", "0s", NULL, LIVE,
  "how often watches report progress")
X(DURATION, downgrade_check_ns, "downgrade-check-time", "5s", NULL, INERT,
  "how often the leader looks whether all members are of the version that a downgrade leads to")
X(UINT, bootstrap_defrag_mb, "bootstrap-defrag-threshold-megabytes", "0", NULL, INERT,
  "defragment at the start")
X(GATES, feature_gates, "feature-gates", "", NULL, LIVE, "GATE=true|false list")
