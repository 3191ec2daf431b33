//! What each kind of join gives for each record, as Kafka Streams' own tests have it (`StreamStreamJoinIntegrationTest`,
//! `StreamTableJoinIntegrationTest`, `TableTableJoinIntegrationTest`).
//!
//! A row is a record: its time, its side, its value (`null:E` has a null key, all others have the same one). The columns
//! after it are results, `value@time`; `.` is none. A row without a time goes on with the results of the row above.

/// Two streams, windows of 10 s.
pub(super) const STREAM_STREAM: &str = "
time side  value  | inner                       | left                        | outer
   1 left  null   | .                           | .                           | .
   2 right null   | .                           | .                           | .
   3 left  A      | .                           | .                           | .
   4 right a      | A-a@4                       | A-a@4                       | A-a@4
   5 left  B      | B-a@5                       | B-a@5                       | B-a@5
   6 right b      | A-b@6 B-b@6                 | A-b@6 B-b@6                 | A-b@6 B-b@6
   7 left  null   | .                           | .                           | .
   8 right null   | .                           | .                           | .
   9 left  C      | C-a@9 C-b@9                 | C-a@9 C-b@9                 | C-a@9 C-b@9
  10 right c      | A-c@10 B-c@10 C-c@10        | A-c@10 B-c@10 C-c@10        | A-c@10 B-c@10 C-c@10
  11 right null   | .                           | .                           | .
  12 left  null   | .                           | .                           | .
  13 right null   | .                           | .                           | .
  14 right d      | A-d@14 B-d@14 C-d@14        | A-d@14 B-d@14 C-d@14        | A-d@14 B-d@14 C-d@14
  15 left  D      | D-a@15 D-b@15 D-c@15 D-d@15 | D-a@15 D-b@15 D-c@15 D-d@15 | D-a@15 D-b@15 D-c@15 D-d@15
  16 left  null:E | .                           | null:E-null@16              | null:E-null@16
  17 right null:e | .                           | .                           | null:null-e@17
";

/// A stream with itself.
pub(super) const SELF_JOIN: &str = "
time side value | inner
   1 left null  | .
   2 left A     | A-A@2
   3 left B     | B-A@3 A-B@3 B-B@3
   4 left null  | .
   5 left C     | C-A@5 C-B@5 A-C@5 B-C@5 C-C@5
   6 left null  | .
   7 left D     | D-A@7 D-B@7 D-C@7 A-D@7 B-D@7 C-D@7 D-D@7
";

/// The left stream with the right one, and the result with the right one again.
pub(super) const STREAM_MULTI: &str = "
time side  value  | inner-inner
   1 left  null   | .
   2 right null   | .
   3 left  A      | .
   4 right a      | A-a-a@4
   5 left  B      | B-a-a@5
   6 right b      | A-b-a@6 B-b-a@6 A-a-b@6 B-a-b@6 A-b-b@6 B-b-b@6
   7 left  null   | .
   8 right null   | .
   9 left  C      | C-a-a@9 C-a-b@9 C-b-a@9 C-b-b@9
  10 right c      | A-c-a@10 A-c-b@10 B-c-a@10 B-c-b@10 C-c-a@10 C-c-b@10 A-a-c@10 B-a-c@10 A-b-c@10 B-b-c@10
                  | C-a-c@10 C-b-c@10 A-c-c@10 B-c-c@10 C-c-c@10
  11 right null   | .
  12 left  null   | .
  13 right null   | .
  14 right d      | A-d-a@14 A-d-b@14 A-d-c@14 B-d-a@14 B-d-b@14 B-d-c@14 C-d-a@14 C-d-b@14 C-d-c@14 A-a-d@14
                  | B-a-d@14 A-b-d@14 B-b-d@14 C-a-d@14 C-b-d@14 A-c-d@14 B-c-d@14 C-c-d@14 A-d-d@14 B-d-d@14
                  | C-d-d@14
  15 left  D      | D-a-a@15 D-a-b@15 D-a-c@15 D-a-d@15 D-b-a@15 D-b-b@15 D-b-c@15 D-b-d@15 D-c-a@15 D-c-b@15
                  | D-c-c@15 D-c-d@15 D-d-a@15 D-d-b@15 D-d-c@15 D-d-d@15
  16 left  null:E | .
  17 right null:e | .
";

/// A stream with a table; versioned: with a table as it was at the record's time.
pub(super) const STREAM_TABLE: &str = "
time side  value | inner  | left     | inner, versioned | left, versioned
   1 left  null  | .      | .        | .                | .
   2 right null  | .      | .        | .                | .
   3 left  A     | .      | A-null@3 | .                | A-null@3
   4 right a     | .      | .        | .                | .
   5 left  B     | B-a@5  | B-a@5    | B-a@5            | B-a@5
   6 right b     | .      | .        | .                | .
   7 left  null  | .      | .        | .                | .
   8 right null  | .      | .        | .                | .
   9 left  C     | .      | C-null@9 | .                | C-null@9
  10 right c     | .      | .        | .                | .
  11 right null  | .      | .        | .                | .
  12 left  null  | .      | .        | .                | .
  13 right null  | .      | .        | .                | .
   7 right d     | .      | .        | .                | .
   6 left  D     | D-d@6  | D-d@6    | D-b@6            | D-b@6
   2 left  null  | .      | .        | .                | .
   3 right null  | .      | .        | .                | .
  14 right e     | .      | .        | .                | .
  15 left  E     | E-e@15 | E-e@15   | E-e@15           | E-e@15
  10 left  null  | .      | .        | .                | .
   9 right null  | .      | .        | .                | .
   4 left  F     | .      | F-null@4 | F-a@4            | F-a@4
   3 right f     | .      | .        | .                | .
";

/// Two tables.
pub(super) const TABLE_TABLE: &str = "
time side  value | inner   | left      | outer
   1 left  null  | .       | .         | .
   2 right null  | .       | .         | .
   3 left  A     | .       | A-null@3  | A-null@3
   4 right a     | A-a@4   | A-a@4     | A-a@4
   5 left  B     | B-a@5   | B-a@5     | B-a@5
   6 right b     | B-b@6   | B-b@6     | B-b@6
   7 left  null  | null@7  | null@7    | null-b@7
   8 right null  | .       | .         | null@8
   9 left  C     | .       | C-null@9  | C-null@9
  10 right c     | C-c@10  | C-c@10    | C-c@10
  11 right null  | null@11 | C-null@11 | C-null@11
  12 left  null  | .       | null@12   | null@12
  13 right null  | .       | .         | .
   7 right d     | .       | .         | null-d@7
   6 left  D     | D-d@7   | D-d@7     | D-d@7
   2 left  null  | null@7  | null@7    | null-d@7
   3 right null  | .       | .         | null@3
  14 right e     | .       | .         | null-e@14
  15 left  E     | E-e@15  | E-e@15    | E-e@15
  10 left  null  | null@14 | null@14   | null-e@14
   9 right null  | .       | .         | null@9
   4 left  F     | .       | F-null@4  | F-null@4
   3 right f     | F-f@4   | F-f@4     | F-f@4
";

/// Two versioned tables: late updates of either change nothing.
pub(super) const BOTH_VERSIONED: &str = "
time side  value | inner   | left      | outer
   1 left  null  | .       | .         | .
   2 right null  | .       | .         | .
   3 left  A     | .       | A-null@3  | A-null@3
   4 right a     | A-a@4   | A-a@4     | A-a@4
   5 left  B     | B-a@5   | B-a@5     | B-a@5
   6 right b     | B-b@6   | B-b@6     | B-b@6
   7 left  null  | null@7  | null@7    | null-b@7
   8 right null  | .       | .         | null@8
   9 left  C     | .       | C-null@9  | C-null@9
  10 right c     | C-c@10  | C-c@10    | C-c@10
  11 right null  | null@11 | C-null@11 | C-null@11
  12 left  null  | .       | null@12   | null@12
  13 right null  | .       | .         | .
   7 right d     | .       | .         | .
   6 left  D     | .       | .         | .
   2 left  null  | .       | .         | .
   3 right null  | .       | .         | .
  14 right e     | .       | .         | null-e@14
  15 left  E     | E-e@15  | E-e@15    | E-e@15
  10 left  null  | .       | .         | .
   9 right null  | .       | .         | .
   4 left  F     | .       | .         | .
   3 right f     | .       | .         | .
";

/// A versioned table on the left.
pub(super) const LEFT_VERSIONED: &str = "
time side  value | inner   | left      | outer
   1 left  null  | .       | .         | .
   2 right null  | .       | .         | .
   3 left  A     | .       | A-null@3  | A-null@3
   4 right a     | A-a@4   | A-a@4     | A-a@4
   5 left  B     | B-a@5   | B-a@5     | B-a@5
   6 right b     | B-b@6   | B-b@6     | B-b@6
   7 left  null  | null@7  | null@7    | null-b@7
   8 right null  | .       | .         | null@8
   9 left  C     | .       | C-null@9  | C-null@9
  10 right c     | C-c@10  | C-c@10    | C-c@10
  11 right null  | null@11 | C-null@11 | C-null@11
  12 left  null  | .       | null@12   | null@12
  13 right null  | .       | .         | .
   7 right d     | .       | .         | null-d@7
   6 left  D     | .       | .         | .
   2 left  null  | .       | .         | .
   3 right null  | .       | .         | null@3
  14 right e     | .       | .         | null-e@14
  15 left  E     | E-e@15  | E-e@15    | E-e@15
  10 left  null  | .       | .         | .
   9 right null  | null@15 | E-null@15 | E-null@15
   4 left  F     | .       | .         | .
   3 right f     | E-f@15  | E-f@15    | E-f@15
";

/// A versioned table on the right.
pub(super) const RIGHT_VERSIONED: &str = "
time side  value | inner   | left      | outer
   1 left  null  | .       | .         | .
   2 right null  | .       | .         | .
   3 left  A     | .       | A-null@3  | A-null@3
   4 right a     | A-a@4   | A-a@4     | A-a@4
   5 left  B     | B-a@5   | B-a@5     | B-a@5
   6 right b     | B-b@6   | B-b@6     | B-b@6
   7 left  null  | null@7  | null@7    | null-b@7
   8 right null  | .       | .         | null@8
   9 left  C     | .       | C-null@9  | C-null@9
  10 right c     | C-c@10  | C-c@10    | C-c@10
  11 right null  | null@11 | C-null@11 | C-null@11
  12 left  null  | .       | null@12   | null@12
  13 right null  | .       | .         | .
   7 right d     | .       | .         | .
   6 left  D     | .       | D-null@6  | D-null@6
   2 left  null  | .       | null@2    | null@2
   3 right null  | .       | .         | .
  14 right e     | .       | .         | null-e@14
  15 left  E     | E-e@15  | E-e@15    | E-e@15
  10 left  null  | null@14 | null@14   | null-e@14
   9 right null  | .       | .         | .
   4 left  F     | F-e@14  | F-e@14    | F-e@14
   3 right f     | .       | .         | .
";

/// Two tables joined (inner), and the result with the right one again. Some results come twice (KAFKA-6443).
pub(super) const TABLE_INNER_THEN: &str = "
time side  value  | inner-inner       | inner-left        | inner-outer
   1 left  null   | .                 | .                 | .
   2 right null   | .                 | .                 | .
   3 left  A      | .                 | .                 | .
   4 right a      | A-a-a@4 A-a-a@4   | A-a-a@4 A-a-a@4   | A-a-a@4 A-a-a@4
   5 left  B      | B-a-a@5           | B-a-a@5           | B-a-a@5
   6 right b      | B-b-b@6 B-b-b@6   | B-b-b@6 B-b-b@6   | B-b-b@6 B-b-b@6
   7 left  null   | null@7            | null@7            | null-b@7
   8 right null   | .                 | .                 | null@8
   9 left  C      | .                 | .                 | .
  10 right c      | C-c-c@10 C-c-c@10 | C-c-c@10 C-c-c@10 | C-c-c@10 C-c-c@10
  11 right null   | .                 | null@11           | null@11 null@11
  12 left  null   | .                 | .                 | .
  13 right null   | .                 | .                 | .
  14 right d      | .                 | .                 | null-d@14
  15 left  D      | D-d-d@15          | D-d-d@15          | D-d-d@15
  16 left  null:E | .                 | .                 | .
  17 right null:e | .                 | .                 | .
";

/// Two tables joined (left), and the result with the right one again. Some results come twice (KAFKA-6443).
pub(super) const TABLE_LEFT_THEN: &str = "
time side  value  | left-inner        | left-left                     | left-outer
   1 left  null   | .                 | .                             | .
   2 right null   | .                 | .                             | .
   3 left  A      | .                 | A-null-null@3                 | A-null-null@3
   4 right a      | A-a-a@4 A-a-a@4   | A-a-a@4 A-a-a@4               | A-a-a@4 A-a-a@4
   5 left  B      | B-a-a@5           | B-a-a@5                       | B-a-a@5
   6 right b      | B-b-b@6 B-b-b@6   | B-b-b@6 B-b-b@6               | B-b-b@6 B-b-b@6
   7 left  null   | null@7            | null@7                        | null-b@7
   8 right null   | .                 | .                             | null@8
   9 left  C      | .                 | C-null-null@9                 | C-null-null@9
  10 right c      | C-c-c@10 C-c-c@10 | C-c-c@10 C-c-c@10             | C-c-c@10 C-c-c@10
  11 right null   | null@11           | C-null-null@11 C-null-null@11 | C-null-null@11 C-null-null@11
  12 left  null   | .                 | null@12                       | null@12
  13 right null   | .                 | .                             | .
  14 right d      | .                 | .                             | null-d@14
  15 left  D      | D-d-d@15          | D-d-d@15                      | D-d-d@15
  16 left  null:E | .                 | .                             | .
  17 right null:e | .                 | .                             | .
";

/// Two tables joined (outer), and the result with the right one again. Some results come twice (KAFKA-6443).
pub(super) const TABLE_OUTER_THEN: &str = "
time side  value  | outer-inner             | outer-left                    | outer-outer
   1 left  null   | .                       | .                             | .
   2 right null   | .                       | .                             | .
   3 left  A      | .                       | A-null-null@3                 | A-null-null@3
   4 right a      | A-a-a@4 A-a-a@4         | A-a-a@4 A-a-a@4               | A-a-a@4 A-a-a@4
   5 left  B      | B-a-a@5                 | B-a-a@5                       | B-a-a@5
   6 right b      | B-b-b@6 B-b-b@6         | B-b-b@6 B-b-b@6               | B-b-b@6 B-b-b@6
   7 left  null   | null-b-b@7              | null-b-b@7                    | null-b-b@7
   8 right null   | .                       | null@8                        | null@8 null@8
   9 left  C      | .                       | C-null-null@9                 | C-null-null@9
  10 right c      | C-c-c@10 C-c-c@10       | C-c-c@10 C-c-c@10             | C-c-c@10 C-c-c@10
  11 right null   | null@11                 | C-null-null@11 C-null-null@11 | C-null-null@11 C-null-null@11
  12 left  null   | .                       | null@12                       | null@12
  13 right null   | .                       | .                             | .
  14 right d      | null-d-d@14 null-d-d@14 | null-d-d@14 null-d-d@14       | null-d-d@14 null-d-d@14
  15 left  D      | D-d-d@15                | D-d-d@15                      | D-d-d@15
  16 left  null:E | .                       | .                             | .
  17 right null:e | .                       | .                             | .
";
