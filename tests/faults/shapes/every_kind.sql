-- One of everything that an owner can make
-- differs: TABLE DATA audit\.child => audit.child
\ir ../../unit/database/everything.sql
