;; Six kernels. Each takes its size and returns a checksum, and shares one memory with the others:
;; it writes all that it reads.
(module
  (memory (export "memory") 512)

  ;; matmul: C = A * B in f64, n by n, A at 0, B and C after it.
  (func (export "matmul") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $k i32) (local $b i32) (local $c i32) (local $row i32)
    (local $sum f64) (local $trace f64)
    (local.set $b (i32.shl (i32.mul (local.get $n) (local.get $n)) (i32.const 3)))
    (local.set $c (i32.shl (local.get $b) (i32.const 1)))
    (loop $fill
      (f64.store (i32.shl (local.get $i) (i32.const 3))
        (f64.convert_i32_s (i32.sub (i32.rem_u (i32.mul (local.get $i) (i32.const 7)) (i32.const 13)) (i32.const 6))))
      (f64.store (i32.add (local.get $b) (i32.shl (local.get $i) (i32.const 3)))
        (f64.convert_i32_s (i32.sub (i32.rem_u (i32.mul (local.get $i) (i32.const 11)) (i32.const 17)) (i32.const 8))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.mul (local.get $n) (local.get $n)))))
    (local.set $i (i32.const 0))
    (loop $rows
      (local.set $row (i32.mul (local.get $i) (local.get $n)))
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $k (i32.const 0))
        (local.set $sum (f64.const 0))
        (loop $dot
          (local.set $sum (f64.add (local.get $sum) (f64.mul
            (f64.load (i32.shl (i32.add (local.get $row) (local.get $k)) (i32.const 3)))
            (f64.load (i32.add (local.get $b) (i32.shl (i32.add (i32.mul (local.get $k) (local.get $n)) (local.get $j)) (i32.const 3)))))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $dot (i32.lt_u (local.get $k) (local.get $n))))
        (f64.store (i32.add (local.get $c) (i32.shl (i32.add (local.get $row) (local.get $j)) (i32.const 3))) (local.get $sum))
        (local.set $trace (f64.add (f64.mul (local.get $trace) (f64.const 0.5)) (local.get $sum)))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $columns (i32.lt_u (local.get $j) (local.get $n))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $i) (local.get $n))))
    (i32.trunc_f64_s (f64.mul (local.get $trace) (f64.const 1024))))

  ;; sha-256 of n bytes of a pattern, at 65536; returns the first word of the digest.
  ;; 0: K (64 words), 256: W (64 words), 512: H (8 words)
  (data $k (i32.const 33000000) "\98\2f\8a\42\91\44\37\71\cf\fb\c0\b5\a5\db\b5\e9\5b\c2\56\39\f1\11\f1\59\a4\82\3f\92\d5\5e\1c\ab\98\aa\07\d8\01\5b\83\12\be\85\31\24\c3\7d\0c\55\74\5d\be\72\fe\b1\de\80\a7\06\dc\9b\74\f1\9b\c1\c1\69\9b\e4\86\47\be\ef\c6\9d\c1\0f\cc\a1\0c\24\6f\2c\e9\2d\aa\84\74\4a\dc\a9\b0\5c\da\88\f9\76\52\51\3e\98\6d\c6\31\a8\c8\27\03\b0\c7\7f\59\bf\f3\0b\e0\c6\47\91\a7\d5\51\63\ca\06\67\29\29\14\85\0a\b7\27\38\21\1b\2e\fc\6d\2c\4d\13\0d\38\53\54\73\0a\65\bb\0a\6a\76\2e\c9\c2\81\85\2c\72\92\a1\e8\bf\a2\4b\66\1a\a8\70\8b\4b\c2\a3\51\6c\c7\19\e8\92\d1\24\06\99\d6\85\35\0e\f4\70\a0\6a\10\16\c1\a4\19\08\6c\37\1e\4c\77\48\27\b5\bc\b0\34\b3\0c\1c\39\4a\aa\d8\4e\4f\ca\9c\5b\f3\6f\2e\68\ee\82\8f\74\6f\63\a5\78\14\78\c8\84\08\02\c7\8c\fa\ff\be\90\eb\6c\50\a4\f7\a3\f9\be\f2\78\71\c6")
  (global $K i32 (i32.const 33000000))
  (global $W i32 (i32.const 33000256))
  (global $H i32 (i32.const 33000512))

  (func $swap (param i32) (result i32)
    (i32.or
      (i32.and (i32.rotl (local.get 0) (i32.const 8)) (i32.const 0x00ff00ff))
      (i32.and (i32.rotr (local.get 0) (i32.const 8)) (i32.const 0xff00ff00))))

  (func $block (param $at i32)
    (local $i i32) (local $p i32) (local $x i32) (local $y i32) (local $t1 i32) (local $t2 i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $e i32) (local $f i32) (local $g i32) (local $h i32)
    (loop $copy
      (i32.store (i32.add (global.get $W) (local.get $i)) (call $swap (i32.load (i32.add (local.get $at) (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $copy (i32.lt_u (local.get $i) (i32.const 64))))
    (loop $extend
      (local.set $p (i32.add (global.get $W) (local.get $i)))
      (local.set $x (i32.load (i32.sub (local.get $p) (i32.const 60))))
      (local.set $y (i32.load (i32.sub (local.get $p) (i32.const 8))))
      (i32.store (local.get $p)
        (i32.add
          (i32.add (i32.load (i32.sub (local.get $p) (i32.const 64))) (i32.load (i32.sub (local.get $p) (i32.const 28))))
          (i32.add
            (i32.xor (i32.xor (i32.rotr (local.get $x) (i32.const 7)) (i32.rotr (local.get $x) (i32.const 18))) (i32.shr_u (local.get $x) (i32.const 3)))
            (i32.xor (i32.xor (i32.rotr (local.get $y) (i32.const 17)) (i32.rotr (local.get $y) (i32.const 19))) (i32.shr_u (local.get $y) (i32.const 10))))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $extend (i32.lt_u (local.get $i) (i32.const 256))))
    (local.set $a (i32.load offset=0 (global.get $H)))
    (local.set $b (i32.load offset=4 (global.get $H)))
    (local.set $c (i32.load offset=8 (global.get $H)))
    (local.set $d (i32.load offset=12 (global.get $H)))
    (local.set $e (i32.load offset=16 (global.get $H)))
    (local.set $f (i32.load offset=20 (global.get $H)))
    (local.set $g (i32.load offset=24 (global.get $H)))
    (local.set $h (i32.load offset=28 (global.get $H)))
    (local.set $i (i32.const 0))
    (loop $round
      (local.set $t1
        (i32.add
          (i32.add
            (i32.add (local.get $h)
              (i32.xor (i32.xor (i32.rotr (local.get $e) (i32.const 6)) (i32.rotr (local.get $e) (i32.const 11))) (i32.rotr (local.get $e) (i32.const 25))))
            (i32.xor (i32.and (local.get $e) (local.get $f)) (i32.and (i32.xor (local.get $e) (i32.const -1)) (local.get $g))))
          (i32.add
            (i32.load (i32.add (global.get $K) (local.get $i)))
            (i32.load (i32.add (global.get $W) (local.get $i))))))
      (local.set $t2
        (i32.add
          (i32.xor (i32.xor (i32.rotr (local.get $a) (i32.const 2)) (i32.rotr (local.get $a) (i32.const 13))) (i32.rotr (local.get $a) (i32.const 22)))
          (i32.xor (i32.xor (i32.and (local.get $a) (local.get $b)) (i32.and (local.get $a) (local.get $c))) (i32.and (local.get $b) (local.get $c)))))
      (local.set $h (local.get $g))
      (local.set $g (local.get $f))
      (local.set $f (local.get $e))
      (local.set $e (i32.add (local.get $d) (local.get $t1)))
      (local.set $d (local.get $c))
      (local.set $c (local.get $b))
      (local.set $b (local.get $a))
      (local.set $a (i32.add (local.get $t1) (local.get $t2)))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $round (i32.lt_u (local.get $i) (i32.const 256))))
    (i32.store offset=0 (global.get $H) (i32.add (i32.load offset=0 (global.get $H)) (local.get $a)))
    (i32.store offset=4 (global.get $H) (i32.add (i32.load offset=4 (global.get $H)) (local.get $b)))
    (i32.store offset=8 (global.get $H) (i32.add (i32.load offset=8 (global.get $H)) (local.get $c)))
    (i32.store offset=12 (global.get $H) (i32.add (i32.load offset=12 (global.get $H)) (local.get $d)))
    (i32.store offset=16 (global.get $H) (i32.add (i32.load offset=16 (global.get $H)) (local.get $e)))
    (i32.store offset=20 (global.get $H) (i32.add (i32.load offset=20 (global.get $H)) (local.get $f)))
    (i32.store offset=24 (global.get $H) (i32.add (i32.load offset=24 (global.get $H)) (local.get $g)))
    (i32.store offset=28 (global.get $H) (i32.add (i32.load offset=28 (global.get $H)) (local.get $h))))

  ;; Byte i of the message is i mod 251, a prime, so that no two blocks near each other are alike.
  (func (export "sha256") (param $n i32) (result i32)
    (local $i i32) (local $end i32)
    (loop $fill
      (i32.store8 (i32.add (i32.const 65536) (local.get $i)) (i32.rem_u (local.get $i) (i32.const 251)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (local.get $n))))
    ;; padding: 0x80, zeros, the length in bits, big-endian
    (local.set $end (i32.and (i32.add (local.get $n) (i32.const 72)) (i32.const -64)))
    (i32.store8 (i32.add (i32.const 65536) (local.get $n)) (i32.const 0x80))
    (local.set $i (i32.add (local.get $n) (i32.const 1)))
    (loop $zero
      (i32.store8 (i32.add (i32.const 65536) (local.get $i)) (i32.const 0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $zero (i32.lt_u (local.get $i) (local.get $end))))
    (i32.store (i32.add (i32.const 65532) (local.get $end)) (call $swap (i32.shl (local.get $n) (i32.const 3))))
    (i32.store offset=0 (global.get $H) (i32.const 0x6a09e667))
    (i32.store offset=4 (global.get $H) (i32.const 0xbb67ae85))
    (i32.store offset=8 (global.get $H) (i32.const 0x3c6ef372))
    (i32.store offset=12 (global.get $H) (i32.const 0xa54ff53a))
    (i32.store offset=16 (global.get $H) (i32.const 0x510e527f))
    (i32.store offset=20 (global.get $H) (i32.const 0x9b05688c))
    (i32.store offset=24 (global.get $H) (i32.const 0x1f83d9ab))
    (i32.store offset=28 (global.get $H) (i32.const 0x5be0cd19))
    (local.set $i (i32.const 0))
    (loop $blocks
      (call $block (i32.add (i32.const 65536) (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 64)))
      (br_if $blocks (i32.lt_u (local.get $i) (local.get $end))))
    (i32.load (global.get $H)))

  ;; sort: quicksort of n pseudo-random i32 at 0, the comparison through a table as in C's qsort.
  (type $compare (func (param i32 i32) (result i32)))
  (table 1 funcref)
  (elem (i32.const 0) $less)
  (func $less (type $compare) (i32.lt_s (local.get 0) (local.get 1)))

  (func $quick (param $low i32) (param $high i32)
    (local $i i32) (local $j i32) (local $pivot i32) (local $x i32)
    (if (i32.ge_s (local.get $low) (local.get $high)) (then (return)))
    (local.set $i (local.get $low))
    (local.set $j (local.get $high))
    (local.set $pivot (i32.load (i32.and (i32.shr_u (i32.add (local.get $low) (local.get $high)) (i32.const 1)) (i32.const -4))))
    (block $done
      (loop $partition
        (loop $up
          (if (call_indirect (type $compare) (i32.load (local.get $i)) (local.get $pivot) (i32.const 0))
            (then (local.set $i (i32.add (local.get $i) (i32.const 4))) (br $up))))
        (loop $down
          (if (call_indirect (type $compare) (local.get $pivot) (i32.load (local.get $j)) (i32.const 0))
            (then (local.set $j (i32.sub (local.get $j) (i32.const 4))) (br $down))))
        (br_if $done (i32.gt_s (local.get $i) (local.get $j)))
        (local.set $x (i32.load (local.get $i)))
        (i32.store (local.get $i) (i32.load (local.get $j)))
        (i32.store (local.get $j) (local.get $x))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (local.set $j (i32.sub (local.get $j) (i32.const 4)))
        (br_if $partition (i32.le_s (local.get $i) (local.get $j)))))
    (call $quick (local.get $low) (local.get $j))
    (call $quick (local.get $i) (local.get $high)))

  ;; The checksum is zero where two neighbours are out of order.
  (func (export "sort") (param $n i32) (result i32)
    (local $i i32) (local $end i32) (local $seed i32) (local $sum i32)
    (local.set $end (i32.shl (local.get $n) (i32.const 2)))
    (local.set $seed (i32.const 12345))
    (loop $fill
      (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1103515245)) (i32.const 12345)))
      (i32.store (local.get $i) (i32.xor (local.get $seed) (i32.shr_u (local.get $seed) (i32.const 15))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $fill (i32.lt_u (local.get $i) (local.get $end))))
    (call $quick (i32.const 0) (i32.sub (local.get $end) (i32.const 4)))
    (local.set $i (i32.const 4))
    (loop $check
      (if (i32.gt_s (i32.load (i32.sub (local.get $i) (i32.const 4))) (i32.load (local.get $i))) (then (return (i32.const 0))))
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $check (i32.lt_u (local.get $i) (local.get $end))))
    (local.get $sum))

  ;; trees: builds a binary tree of depth n with nodes from a bump allocator, and counts it.
  (global $free (mut i32) (i32.const 0))
  (func $build (param $depth i32) (result i32) (local $node i32)
    (local.set $node (global.get $free))
    (global.set $free (i32.add (global.get $free) (i32.const 8)))
    (if (i32.eqz (local.get $depth))
      (then
        (i64.store (local.get $node) (i64.const 0))
        (return (local.get $node))))
    (i32.store (local.get $node) (call $build (i32.sub (local.get $depth) (i32.const 1))))
    (i32.store offset=4 (local.get $node) (call $build (i32.sub (local.get $depth) (i32.const 1))))
    (local.get $node))
  (func $count (param $node i32) (result i32)
    (if (i32.eqz (i32.load (local.get $node))) (then (return (i32.const 1))))
    (i32.add (i32.const 1)
      (i32.add (call $count (i32.load (local.get $node))) (call $count (i32.load offset=4 (local.get $node))))))
  (func (export "trees") (param $depth i32) (result i32) (local $sum i32) (local $left i32)
    (local.set $left (i32.const 8))
    (loop $again
      (global.set $free (i32.const 8))
      (local.set $sum (i32.add (local.get $sum) (call $count (call $build (local.get $depth)))))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.get $sum))

  ;; sieve of Eratosthenes: how many primes are below n.
  (func (export "sieve") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $found i32)
    (memory.fill (i32.const 0) (i32.const 1) (local.get $n))
    (local.set $i (i32.const 2))
    (loop $next
      (if (i32.load8_u (local.get $i))
        (then
          (local.set $found (i32.add (local.get $found) (i32.const 1)))
          (if (i32.lt_u (local.get $i) (i32.const 46341))
            (then
              (local.set $j (i32.mul (local.get $i) (local.get $i)))
              (block $out
                (loop $strike
                  (br_if $out (i32.ge_u (local.get $j) (local.get $n)))
                  (i32.store8 (local.get $j) (i32.const 0))
                  (local.set $j (i32.add (local.get $j) (local.get $i)))
                  (br $strike)))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $found))

  ;; fib: nothing but calls.
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (i32.lt_u (local.get $n) (i32.const 2)) (then (return (local.get $n))))
    (i32.add
      (call $fib (i32.sub (local.get $n) (i32.const 1)))
      (call $fib (i32.sub (local.get $n) (i32.const 2))))))
