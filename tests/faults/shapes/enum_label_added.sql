-- An enum to which the migration adds a label, and nothing else
CREATE TYPE mood AS ENUM ('sad', 'ok');
-- part: migration
ALTER TYPE mood ADD VALUE 'so-so' BEFORE 'ok';
