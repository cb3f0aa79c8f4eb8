;; Tries to connect to a port of this machine that the test puts in. Ends with failure when the
;; connection was begun, and with a trap when it could not even try.
(component
  (import "wasi:sockets/network@0.2.0" (instance $network
    (export "network" (type (sub resource)))
    (type $error (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
      "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type $error-code (eq $error)))
    (type $families (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $families)))
    (type $v4 (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $ipv4 (eq $v4)))
    (type $v6 (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $ipv6 (eq $v6)))
    (type $at4 (record (field "port" u16) (field "address" $ipv4)))
    (export "ipv4-socket-address" (type $socket4 (eq $at4)))
    (type $at6 (record (field "port" u16) (field "flow-info" u32) (field "address" $ipv6) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $socket6 (eq $at6)))
    (type $at (variant (case "ipv4" $socket4) (case "ipv6" $socket6)))
    (export "ip-socket-address" (type (eq $at)))))
  (alias export $network "network" (type $net))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "ip-socket-address" (type $address))

  (import "wasi:sockets/instance-network@0.2.0" (instance $instance
    (alias outer 1 $net (type $outer))
    (export "network" (type $n (eq $outer)))
    (export "instance-network" (func (result (own $n))))))

  (import "wasi:sockets/tcp@0.2.0" (instance $tcp
    (export "tcp-socket" (type $s (sub resource)))
    (alias outer 1 $net (type $net))
    (alias outer 1 $code (type $code))
    (alias outer 1 $address (type $address))
    (export "network" (type $n (eq $net)))
    (export "error-code" (type $e (eq $code)))
    (export "ip-socket-address" (type $a (eq $address)))
    (export "[method]tcp-socket.start-connect" (func (param "self" (borrow $s)) (param "network" (borrow $n))
      (param "remote-address" $a) (result (result (error $e)))))))
  (alias export $tcp "tcp-socket" (type $socket))

  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (alias outer 1 $socket (type $socket))
    (alias outer 1 $code (type $code))
    (alias outer 1 $family (type $family))
    (export "tcp-socket" (type $s (eq $socket)))
    (export "error-code" (type $e (eq $code)))
    (export "ip-address-family" (type $f (eq $family)))
    (export "create-tcp-socket" (func (param "address-family" $f) (result (result (own $s) (error $e)))))))

  (core module $memory (memory (export "memory") 1))
  (core instance $m (instantiate $memory))
  (alias core export $m "memory" (core memory $bytes))
  (core func $instance-network (canon lower (func $instance "instance-network")))
  (core func $create-socket (canon lower (func $create "create-tcp-socket") (memory $bytes)))
  (core func $start-connect (canon lower (func $tcp "[method]tcp-socket.start-connect") (memory $bytes)))

  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "instance-network" (func $instance-network (result i32)))
    (import "host" "create-socket" (func $create-socket (param i32 i32)))
    (import "host" "start-connect"
      (func $start-connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $create-socket (i32.const 0) (i32.const 64))
      ;; No socket at all is as good, when it is refused for the right reason.
      (if (i32.load8_u (i32.const 64)) (then (return (i32.ne (i32.load8_u (i32.const 68)) (i32.const 1)))))
      (call $start-connect (i32.load (i32.const 68)) (call $instance-network)
        (i32.const 0) (i32.const PORT) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 128))
      ;; 1 is the error side of the result, and its second case is `access-denied`.
      (if (i32.eqz (i32.load8_u (i32.const 128))) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (i32.const 129)) (i32.const 1)) (then unreachable))
      (i32.const 0)))
  (core instance $i (instantiate $main (with "host" (instance
    (export "memory" (memory $bytes))
    (export "instance-network" (func $instance-network))
    (export "create-socket" (func $create-socket))
    (export "start-connect" (func $start-connect))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exported)))
