// The franz-go client: writer, reader and group member of the conformance tests. It judges nothing: it prints what it
// saw, the harness compares. Called as `go-client VERB BOOTSTRAP TOPIC ...`, with the output of the other clients.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	verb, bootstrap, topic, rest := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	switch verb {
	case "write":
		write(bootstrap, topic, rest)
	case "read":
		read(bootstrap, topic)
	case "member":
		member(bootstrap, topic, rest)
	default:
		check(fmt.Errorf("no such verb: %s", verb))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var saying sync.Mutex

func say(event map[string]any) {
	line, err := json.Marshal(event)
	check(err)
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(string(line))
}

// write sends rows FIRST..LAST of FILE, compressed by CODEC, and waits for every acknowledgement.
func write(bootstrap, topic string, args []string) {
	first, _ := strconv.Atoi(args[1])
	last, _ := strconv.Atoi(args[2])
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[args[3]]
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(20*time.Millisecond))
	check(err)
	file, err := os.Open(args[0])
	check(err)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	var lock sync.Mutex
	acked, failed := 0, 0
	for row := 0; row < last && lines.Scan(); row++ {
		if row < first {
			continue
		}
		cells := bytes.SplitN(bytes.Clone(lines.Bytes()), []byte("\t"), 3)
		ms, err := strconv.ParseInt(string(cells[1]), 10, 64)
		check(err)
		record := &kgo.Record{Topic: topic, Value: cells[2], Timestamp: time.UnixMilli(ms),
			Headers: []kgo.RecordHeader{{Key: "row", Value: []byte(strconv.Itoa(row))}}}
		if len(cells[0]) > 0 {
			record.Key = cells[0]
		}
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			lock.Lock()
			defer lock.Unlock()
			if err == nil {
				acked++
			} else {
				failed++
			}
		})
	}
	check(client.Flush(context.Background()))
	say(map[string]any{"acked": acked, "failed": failed})
}

// bounds asks for the first and the end offset of every partition.
func bounds(client *kgo.Client, topic string) (low, high map[int32]int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	asked := kmsg.NewPtrMetadataRequest()
	name := kmsg.NewMetadataRequestTopic()
	name.Topic = kmsg.StringPtr(topic)
	asked.Topics = append(asked.Topics, name)
	metadata, err := asked.RequestWith(ctx, client)
	check(err)
	ask := func(at int64) map[int32]int64 {
		request := kmsg.NewPtrListOffsetsRequest()
		in := kmsg.NewListOffsetsRequestTopic()
		in.Topic = topic
		for _, p := range metadata.Topics[0].Partitions {
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition, one.Timestamp, one.CurrentLeaderEpoch = p.Partition, at, -1
			in.Partitions = append(in.Partitions, one)
		}
		request.ReplicaID = -1
		request.Topics = append(request.Topics, in)
		found := map[int32]int64{}
		for _, shard := range client.RequestSharded(ctx, request) {
			check(shard.Err)
			for _, p := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
				if p.ErrorCode != 0 {
					check(fmt.Errorf("ListOffsets of partition %d: error %d", p.Partition, p.ErrorCode))
				}
				found[p.Partition] = p.Offset
			}
		}
		return found
	}
	return ask(-2), ask(-1)
}

// read takes every partition from its first record to the end it had at the start.
func read(bootstrap, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	check(err)
	low, high := bounds(client, topic)
	from := map[int32]kgo.Offset{}
	for p, offset := range low {
		if high[p] > offset {
			from[p] = kgo.NewOffset().At(offset)
		}
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	digest := newDigest()
	for len(from) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		fetches := client.PollFetches(ctx)
		cancel()
		for _, failed := range fetches.Errors() {
			check(failed.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			digest.add(r)
			if r.Offset+1 >= high[r.Partition] {
				delete(from, r.Partition)
			}
		})
	}
	client.Close()
	say(digest.summary())
}

// member GROUP STRATEGY [INSTANCE] commits what it consumed and tells every assignment, until SIGTERM.
func member(bootstrap, topic string, args []string) {
	balancer := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer()}[args[1]]
	held := map[int32]bool{}
	tell := func() {
		sorted := []int{}
		for p := range held {
			sorted = append(sorted, int(p))
		}
		sort.Ints(sorted)
		say(map[string]any{"assigned": sorted})
	}
	gone := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		for _, p := range lost[topic] {
			delete(held, p)
		}
		tell()
	}
	options := []kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(args[0]), kgo.ConsumeTopics(topic),
		kgo.Balancers(balancer), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.MetadataMaxAge(2 * time.Second), kgo.MetadataMinAge(500 * time.Millisecond), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			for _, p := range added[topic] {
				held[p] = true
			}
			tell()
		}), kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone)}
	if len(args) > 2 {
		options = append(options, kgo.InstanceID(args[2]))
	}
	client, err := kgo.NewClient(options...)
	check(err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	owing := false
	for ctx.Err() == nil {
		turn, end := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := client.PollRecords(turn, 500)
		end()
		runs := [][]int64{}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				runs = append(runs, []int64{int64(p.Partition), p.Records[0].Offset, p.Records[n-1].Offset})
			}
		})
		if len(runs) > 0 {
			say(map[string]any{"records": runs})
			owing = true
		}
		if owing {
			// A rebalance in between fails the commit: what stays here is committed again.
			err := client.CommitUncommittedOffsets(context.Background())
			if err != nil {
				say(map[string]any{"commit_failed": err.Error()})
			}
			owing = err != nil
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	say(map[string]any{"closed": true})
}

// digest is the one that clients/python/digest.py describes.
type digest struct {
	keys    map[string]hash.Hash
	keyless [][]byte
	rows    map[string]bool
	count   int
}

func newDigest() *digest {
	return &digest{keys: map[string]hash.Hash{}, rows: map[string]bool{}}
}

func framed(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}

func (d *digest) add(r *kgo.Record) {
	row := []byte{}
	for _, header := range r.Headers {
		if header.Key == "row" {
			row = header.Value
		}
	}
	record := binary.BigEndian.AppendUint64(nil, uint64(r.Timestamp.UnixMilli()))
	record = append(append(record, framed(row)...), framed(r.Value)...)
	d.count++
	d.rows[string(row)] = true
	if r.Key == nil {
		sum := sha256.Sum256(record)
		d.keyless = append(d.keyless, sum[:])
		return
	}
	running := d.keys[string(r.Key)]
	if running == nil {
		running = sha256.New()
		d.keys[string(r.Key)] = running
	}
	running.Write(record)
}

func (d *digest) summary() map[string]any {
	total := sha256.New()
	sort.Slice(d.keyless, func(a, b int) bool { return bytes.Compare(d.keyless[a], d.keyless[b]) < 0 })
	for _, one := range d.keyless {
		total.Write(one)
	}
	names := []string{}
	for key := range d.keys {
		names = append(names, key)
	}
	sort.Strings(names)
	for _, key := range names {
		total.Write(framed([]byte(key)))
		total.Write(d.keys[key].Sum(nil))
	}
	return map[string]any{"count": d.count, "rows": len(d.rows), "keys": len(d.keys),
		"digest": hex.EncodeToString(total.Sum(nil))}
}
