"""What to do about each trouble with an MQTT broker, as somebody who commissions it would."""

from __future__ import annotations

from typing import Final

from protocols.advice import Steps

STEPS: Final[Steps] = (
    (
        "refuses the user name or password",
        "compare `user` ({user}) and the secret of `password` with the broker's list of users; `mosquitto_sub -h {host} -p {port} -u {user} -P ... -t '#'` tries them. What is mended there is seen by itself; after a new secret here restart this adapter",
    ),
    (
        "does not let this user or client id in",
        "compare `user` ({user}) and the secret of `password` with the broker's users: many say this of a wrong password, too; then have whoever runs it let user {user} in with the client id {client_id} (its access rules). After a new secret here restart this adapter",
    ),
    (
        "does not accept the client id",
        "set `client_id` to one the broker allows; some take only names that are registered there, or short ones, or keep no sessions (`session: clean`)",
    ),
    ("reads only now that it goes on", "nothing: the adapter connects again by itself; see why the broker hung"),
    ("it hangs, or has too much", "look at the load, the memory and the disk of the broker's machine and at its log; the adapter connects again by itself"),
    ("is shutting down", "nothing: the adapter connects again when the broker is back"),
    (
        "client id",
        ("find the other client that is called {client_id} (the broker's log names its address) and give each its own `client_id`; a second "
        "gateway with a copy of this file is the usual one"),
    ),
    ("set `version`", "set `version` as it says, and start the gateway again"),
    (
        "the name is not known",
        "write the broker's address into `host`, or enter the name at this machine's name server; `getent hosts {host}` shows what it knows",
    ),
    (
        "nobody listens there",
        "see that the broker runs and listens on this network and not only on its own loopback (mosquitto: `listener {port}`), and that `port` is right",
    ),
    (
        "no answer; check the address",
        "try `ping {host}` on the gateway: without an answer it is the address, the cable or the route; with one, a firewall between or `port`",
    ),
    (
        "authority that is not trusted here",
        ("get the certificate of the authority that signed the broker's from whoever runs it, and name its file in `tls.ca`; "
        "`openssl s_client -connect {host}:{port} -showcerts` shows what the broker presents"),
    ),
    ("signed by itself", "compare the certificate's fingerprint with the broker's own, then name its file in `tls.ca`"),
    ("is not valid yet", "set the clock of this gateway (`timedatectl`), then that of the broker's machine"),
    ("has expired", "look at this gateway's clock (`timedatectl`); if that is right, the broker needs a new certificate"),
    ("is for another", "set `host` to a name that stands in the broker's certificate, or have a certificate made with {host} in it"),
    (
        "certificate of this gateway",
        "get a certificate for this gateway from whoever runs the broker, and name its files in `tls.cert` and `tls.key`",
    ),
    (
        "does not accept this gateway's certificate",
        "have whoever runs the broker trust the authority of `tls.cert`, or get a certificate from an authority the broker trusts; look at its dates, too",
    ),
    ("does not speak TLS", "take `tls` away if the broker has no TLS on this port, or set `port` to the one that has (8883 is usual)"),
    (
        "want TLS",
        ("try `tls: {{}}` with the broker's TLS port (8883 is usual), or look in the broker's log why it ends the connection: some say nothing to a client id "
        "or user they do not know, and some that keep no sessions want `session: clean`"),
    ),
    ("speak MQTT", "see what listens on {host}:{port}; MQTT over WebSockets (often 8080, 9001) is another port than MQTT"),
    ("what is no MQTT", "see what listens on {host}:{port}; MQTT over WebSockets (often 8080, 9001) is another port than MQTT"),
    (
        "refuses the subscription",
        "have whoever runs the broker let user {user} read these topics (its access rules), then restart this adapter",
    ),
    ("no longer lets this client in", "ask whoever runs the broker: the rights of user {user} were changed or its password has run out"),
    ("said nothing for", "look at the line to {host}: connections through a router or firewall that forgets quiet ones need a shorter `keepalive`"),
    ("quota", "ask whoever runs the broker: a limit of this client is used up"),
    ("ended the connection", "look in the broker's log why; if it comes again and again, another client may use the client id {client_id} too"),
    ("slower than the broker", "nothing to do at the broker; see what the gateway's status says of its stream"),
    ("tls.verify is off", "name the authority of the broker's certificate in `tls.ca` and take `verify: false` away"),
    (
        "had forgotten the session",
        ("have the broker keep its sessions over a restart (mosquitto: `persistence true`), and set `session_expiry` longer than this gateway is "
        "ever away; this is said until the next connection, so a restart of this adapter ends it"),
    ),
    (
        "keeps the session only",
        "have whoever runs the broker raise its limit (EMQX, HiveMQ: session expiry interval; mochi: maximum_session_expiry_interval), or set `session_expiry` to what it grants if that is enough",
    ),
    ("fits no subscription", "set `session: clean` at this adapter and start the gateway, then set it back: that ends the broker's old session"),
    (
        "max_points",
        "look for a name in `asset` or `parameter` that never repeats, as a number of each message: it makes a point of each; if all are real, raise `max_points`",
    ),
    (
        "cannot be used: it is larger",
        "raise `max_payload` at this adapter if such messages are meant for it; else give the subscription a narrower topic",
    ),
    (
        "message cannot be used",
        "compare what is published there (the dead letters keep each message whole) with the points of this subscription: `type`, `path`, `time`; or give the subscription a narrower topic",
    ),
    (
        "no message has come",
        "see which topics there are (`mosquitto_sub -h {host} -p {port} -t '#' -v`): upper and lower case count, and access rules may keep messages back without a word; nothing to do if the plant is at rest",
    ),
    ("only QoS", "have whoever runs the broker allow the QoS that is asked for, or set it to what is granted"),
)  # fmt: skip
