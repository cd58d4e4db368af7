// The matching service: knows the drivers and the rides that wait, in a PostgreSQL of its own, and gives each ride to the nearest free
// driver.
//
// How far it has read is in the same database, written in the same transaction as what follows from it. So each booking counts once,
// however often the service or its database is killed; while it is down bookings wait in their topic. A match is told once it is in the
// database; who is killed in between tells it again, and those who hear it know it by its ride.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const schema = `
create table if not exists progress (topic text, partition int, next bigint not null, primary key (topic, partition));
create table if not exists drivers (driver text primary key, x float8 not null, y float8 not null, free bool not null);
create table if not exists rides (
  ride text primary key, rider text not null, x float8 not null, y float8 not null,
  driver text, told bool not null default false, asked bigserial
);`

type place struct{ X, Y float64 }

type booking struct {
	Ride, Rider string
	Place       *place
}

type status struct {
	Free  bool
	Place *place
}

type match struct {
	Ride   string `json:"ride"`
	Rider  string `json:"rider"`
	Driver string `json:"driver"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := pgx.Connect(ctx, os.Getenv("DATABASE"))
	if err != nil {
		return err
	}
	defer db.Close(context.Background())
	if _, err := db.Exec(ctx, schema); err != nil {
		return err
	}
	client, err := open(ctx, db)
	if err != nil {
		return err
	}
	defer client.Close()
	log.Print("matching is at work")
	for {
		// What was matched before the last end is told first.
		if err := tell(ctx, db, client); err != nil {
			return err
		}
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, failed := range fetches.Errors() {
			return failed.Err
		}
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return take(ctx, tx, fetches) })
		if err != nil {
			return err
		}
	}
}

// open begins each partition where the database says, or at its begin.
func open(ctx context.Context, db *pgx.Conn) (*kgo.Client, error) {
	servers := kgo.SeedBrokers(os.Getenv("BOOTSTRAP"))
	asking, err := kgo.NewClient(servers)
	if err != nil {
		return nil, err
	}
	defer asking.Close()
	topics, err := kadm.NewClient(asking).ListTopics(ctx, "bookings", "driver-status")
	if err != nil {
		return nil, err
	}
	from := map[string]map[int32]kgo.Offset{}
	for _, topic := range topics {
		if topic.Err != nil {
			return nil, topic.Err
		}
		from[topic.Topic] = map[int32]kgo.Offset{}
		for partition := range topic.Partitions {
			var next int64
			row := db.QueryRow(ctx, "select next from progress where topic = $1 and partition = $2", topic.Topic, partition)
			err := row.Scan(&next)
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return nil, err
			}
			from[topic.Topic][partition] = kgo.NewOffset().At(next)
		}
	}
	return kgo.NewClient(servers, kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
}

// take writes down what was read, up to where, and who drives whom now.
func take(ctx context.Context, tx pgx.Tx, fetches kgo.Fetches) error {
	for records := fetches.RecordIter(); !records.Done(); {
		record := records.Next()
		if err := apply(ctx, tx, record); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into progress values ($1, $2, $3)
			on conflict (topic, partition) do update set next = excluded.next`, record.Topic, record.Partition, record.Offset+1)
		if err != nil {
			return err
		}
	}
	return pair(ctx, tx)
}

func apply(ctx context.Context, tx pgx.Tx, record *kgo.Record) error {
	if record.Topic == "bookings" {
		var asked booking
		if json.Unmarshal(record.Value, &asked) != nil || asked.Place == nil {
			log.Printf("passed over %s %d", record.Topic, record.Offset)
			return nil
		}
		_, err := tx.Exec(ctx, "insert into rides (ride, rider, x, y) values ($1, $2, $3, $4) on conflict do nothing",
			asked.Ride, asked.Rider, asked.Place.X, asked.Place.Y)
		return err
	}
	var said status
	if json.Unmarshal(record.Value, &said) != nil || said.Place == nil {
		log.Printf("passed over %s %d", record.Topic, record.Offset)
		return nil
	}
	_, err := tx.Exec(ctx, `insert into drivers values ($1, $2, $3, $4)
		on conflict (driver) do update set x = excluded.x, y = excluded.y, free = excluded.free`,
		string(record.Key), said.Place.X, said.Place.Y, said.Free)
	return err
}

// pair gives rides that wait, the oldest first, to the nearest free drivers.
func pair(ctx context.Context, tx pgx.Tx) error {
	for {
		var ride, driver string
		err := tx.QueryRow(ctx, `select ride, d.driver from rides r, drivers d where r.driver is null and d.free
			order by r.asked, (r.x - d.x) ^ 2 + (r.y - d.y) ^ 2 limit 1`).Scan(&ride, &driver)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "update rides set driver = $2 where ride = $1", ride, driver); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "update drivers set free = false where driver = $1", driver); err != nil {
			return err
		}
	}
}

// tell writes the matches that were not told yet to their topic.
func tell(ctx context.Context, db *pgx.Conn, client *kgo.Client) error {
	rows, err := db.Query(ctx, "select ride, rider, driver from rides where driver is not null and not told order by asked")
	if err != nil {
		return err
	}
	matches, err := pgx.CollectRows(rows, pgx.RowToStructByPos[match])
	if err != nil {
		return err
	}
	for _, one := range matches {
		value, err := json.Marshal(one)
		if err != nil {
			return err
		}
		record := &kgo.Record{Topic: "matches", Key: []byte(one.Rider), Value: value}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, "update rides set told = true where ride = $1", one.Ride); err != nil {
			return err
		}
		log.Printf("%s drives %s", one.Driver, one.Rider)
	}
	return nil
}
