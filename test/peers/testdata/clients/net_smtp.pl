# Sends a message with Perl's Net::SMTP:
# HOST PORT CA MESSAGE RECIPIENTS; CA is empty without TLS.
use strict;
use warnings;
use Net::SMTP;

my ($host, $port, $ca, $message, $recipients) = @ARGV;
sub content { open(my $f, '<:raw', shift) or die $!; local $/; return scalar <$f> }
my $s = Net::SMTP->new($host, Port => $port, Hello => 'client.example') or die "cannot connect: $@";
if ($ca) { $s->starttls(SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => $host) or die 'STARTTLS: ', $s->message }
$s->mail('sender@example.org', Bits => 8) or die 'MAIL: ', $s->message;
$s->to(split ' ', content($recipients)) or die 'RCPT: ', $s->message;
$s->data or die 'DATA: ', $s->message;
$s->datasend(content($message)) or die 'content: ', $s->message;
$s->dataend or die 'end of data: ', $s->message;
$s->quit;
