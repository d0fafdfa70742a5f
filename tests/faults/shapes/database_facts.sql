-- The database's comment, connection limit and grants
COMMENT ON DATABASE :"database" IS 'the shop';
ALTER DATABASE :"database" CONNECTION LIMIT 77;
GRANT TEMPORARY ON DATABASE :"database" TO PUBLIC;
GRANT CONNECT, CREATE ON DATABASE :"database" TO :"other";
