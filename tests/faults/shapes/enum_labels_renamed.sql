-- The migration swaps the names of two labels of an enum
CREATE TYPE state AS ENUM ('on', 'off');
CREATE TABLE lamps (id integer PRIMARY KEY, s state);
INSERT INTO lamps VALUES (1, 'on'), (2, 'off');
-- part: migration
ALTER TYPE state RENAME VALUE 'on' TO 'tmp';
ALTER TYPE state RENAME VALUE 'off' TO 'on';
ALTER TYPE state RENAME VALUE 'tmp' TO 'off';
