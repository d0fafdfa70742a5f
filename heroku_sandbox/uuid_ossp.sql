-- The functions of the extension uuid-ossp 1.1, without its library: for a PostgreSQL that was built without it.
-- Two things differ. A version 1 names a random node where the library would name the machine's network card, and SHA-1
-- is pgcrypto's, under a name of its own.

CREATE FUNCTION uuid_ossp_digest(bytea, text) RETURNS bytea
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS '$libdir/pgcrypto', 'pg_digest';

CREATE FUNCTION uuid_nil() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '00000000-0000-0000-0000-000000000000'::uuid;

CREATE FUNCTION uuid_ns_dns() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_url() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_oid() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_x500() RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
RETURN gen_random_uuid();

-- 100 ns since 1582-10-15 from the clock, the sequence and the node (with its multicast bit) by chance.
CREATE FUNCTION uuid_generate_v1mc() RETURNS uuid LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
RETURN (
    SELECT (substr(ticks, 9) || substr(ticks, 5, 4) || '1' || substr(ticks, 2, 3)
            || substr(chance, 17, 4) || substr(chance, 21, 1)
            || to_hex(get_byte(decode('0' || substr(chance, 22, 1), 'hex'), 0) | 1) || substr(chance, 23))::uuid
      FROM (SELECT lpad(to_hex((extract(epoch FROM clock_timestamp()) * 10000000)::bigint + 122192928000000000), 16, '0'),
                   replace(gen_random_uuid()::text, '-', '')) AS made (ticks, chance)
);

CREATE FUNCTION uuid_generate_v1() RETURNS uuid LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
RETURN uuid_generate_v1mc();

-- The first 16 bytes of a hash, with the version and the variant of RFC 4122 set in them.
CREATE FUNCTION uuid_generate_v3(namespace uuid, name text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT encode(set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 48), 8, get_byte(hash, 8) & 63 | 128), 'hex')::uuid
      FROM (SELECT decode(md5(uuid_send(namespace) || convert_to(name, 'UTF8')), 'hex')) AS made (hash)
);

CREATE FUNCTION uuid_generate_v5(namespace uuid, name text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT encode(set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 80), 8, get_byte(hash, 8) & 63 | 128), 'hex')::uuid
      FROM (SELECT substr(uuid_ossp_digest(uuid_send(namespace) || convert_to(name, 'UTF8'), 'sha1'), 1, 16)) AS made (hash)
);
